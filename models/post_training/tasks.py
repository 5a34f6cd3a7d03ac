"""Three tasks whose answers can be checked exactly: sums, reversing, copying.

    12+34             46     or  46, my lord.
    reverse stone     enots      …
    copy stone        stone      …

All problems come from a seed. Some are held out: nobody is trained on them, nor on their mirror
images (34+12, enots), in whatever form. The rest is drawn from again and again.
"""

import string
from copy import copy
from dataclasses import dataclass

import numpy as np

from ..text import chat

TASKS = "sums", "reversing", "copying"
FORMS = {"plain": "{}", "polite": "{}, my lord."}  # of an answer; all are right
PREFERRED = "polite"
LENGTHS = 3, 4, 5  # letters of a word
WEIGHTS = {"sums": 2, "reversing": 1, "copying": 1}  # how often each is drawn: sums are hardest


@dataclass(frozen=True)
class Problem:
    """A question and its right answer."""

    task: str
    question: str
    answer: str

    def prompt(self):
        """The conversation up to the answer."""
        return [{"role": "user", "content": self.question}]

    def conversation(self, form):
        """The conversation with the right answer in one of the FORMS."""
        answer = {"role": "assistant", "content": FORMS[form].format(self.answer)}
        return [*self.prompt(), answer]

    def exact(self, reply):
        """True if a reply is the right answer, in any form."""
        return any(reply == form.format(self.answer) for form in FORMS.values())

    def preferred(self, reply):
        """True if a reply has the preferred form, whatever it says."""
        before, after = FORMS[PREFERRED].split("{}")
        return reply.startswith(before) and reply.endswith(after)

    def worked(self):
        """The problem as it stands, solved, in an exercise book, which a base model reads."""
        return f"{chat.END}{self.question}->{self.answer}{chat.END}"


def sum_of(a, b):
    return Problem("sums", f"{a}+{b}", str(a + b))


def reversing(word):
    return Problem("reversing", f"reverse {word}", word[::-1])


def copying(word):
    return Problem("copying", f"copy {word}", word)


class Problems:
    """All problems of some tasks, of which `held_out` are never trained on.

    `draw` gives others, any number of times. ValueError for an unknown task.
    """

    def __init__(self, seed=0, held_out=500, tasks=TASKS):
        unknown = [task for task in tasks if task not in TASKS]
        if unknown or not tasks:
            raise ValueError(f"tasks are {', '.join(TASKS)}; got {', '.join(unknown) or 'none'}")
        self.tasks, self.kept = tuple(tasks), set()  # questions, with their mirror images
        rng = np.random.default_rng([seed, 1])
        self.held_out = []
        while len(self.held_out) < held_out:
            problem = self._any(self.tasks[len(self.held_out) % len(self.tasks)], rng)
            if problem.question not in self.kept:
                self.held_out.append(problem)
                self.kept |= mirrored(problem)

    def only(self, task):
        """The problems of one task, with the same ones held out."""
        some = copy(self)
        some.tasks = (task,)
        some.held_out = [p for p in self.held_out if p.task == task]
        return some

    def draw(self, count, rng):
        """`count` problems to learn from, drawn with a NumPy generator."""
        found, total = [], sum(WEIGHTS[task] for task in self.tasks)
        shares = [WEIGHTS[task] / total for task in self.tasks]
        while len(found) < count:
            problem = self._any(self.tasks[int(rng.choice(len(self.tasks), p=shares))], rng)
            if problem.question not in self.kept:
                found.append(problem)
        return found

    def _any(self, task, rng):
        if task == "sums":
            return sum_of(*rng.integers(10, 100, 2).tolist())
        letters = rng.integers(0, 26, LENGTHS[int(rng.integers(len(LENGTHS)))])
        word = "".join(string.ascii_lowercase[i] for i in letters)
        return (reversing if task == "reversing" else copying)(word)


def mirrored(problem):
    """The questions that would give a problem away: itself, and its mirror images."""
    if problem.task == "sums":
        a, b = problem.question.split("+")
        return {f"{a}+{b}", f"{b}+{a}"}
    word = problem.question.split()[1]
    return {f"{verb} {w}" for verb in ("reverse", "copy") for w in (word, word[::-1])}
