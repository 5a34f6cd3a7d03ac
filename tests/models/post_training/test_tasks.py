"""The tasks: right answers, forms, and problems held out with their mirror images."""

import numpy as np
import pytest

from models.post_training import characters
from models.post_training.tasks import FORMS, PREFERRED, TASKS, Problems, mirrored
from models.text import chat
from models.text.tokenizers import CharTokenizer

TOKENIZER = chat.with_chat_tokens(CharTokenizer("".join(map(chr, range(32, 127)))))


@pytest.mark.parametrize("seed", range(3))
def test_what_is_held_out_is_never_drawn_nor_its_mirror_image(seed):
    problems = Problems(seed, 200)
    kept = {p.question for p in problems.held_out}
    assert len(kept) == 200 and {p.task for p in problems.held_out} == set(TASKS)
    for p in problems.draw(5000, np.random.default_rng(seed)):
        assert not mirrored(p) & kept
        words = p.question.replace("+", " ").split()
        if p.task == "sums":
            assert int(p.answer) == int(words[0]) + int(words[1])
            assert f"{words[1]}+{words[0]}" not in kept
        else:
            assert p.answer == (words[1] if p.task == "copying" else words[1][::-1])
            assert f"reverse {words[1][::-1]}" not in kept


def test_the_seed_decides():
    questions = [[p.question for p in Problems(seed, 20).held_out] for seed in (1, 1, 2)]
    assert questions[0] == questions[1] != questions[2]


@pytest.mark.parametrize("task", TASKS)
def test_an_answer_is_exact_in_every_form_and_in_no_other(task):
    (problem,) = Problems(0, 1, [task]).held_out
    for name, form in FORMS.items():
        right = form.format(problem.answer)
        assert problem.exact(right) and problem.preferred(right) == (name == PREFERRED)
        assert problem.conversation(name)[-1] == {"role": "assistant", "content": right}
        for wrong in (right + " ", right[:-1], "", form.format("x" + problem.answer)):
            assert not problem.exact(wrong)
    assert TOKENIZER.decode(TOKENIZER.encode(problem.worked())) == problem.worked()
    assert TOKENIZER.encode(problem.worked())[-1] == chat.end_id(TOKENIZER)


@pytest.mark.parametrize("tasks", [[], ["sum"], ["sums", "cooking"]])
def test_unknown_tasks(tasks):
    with pytest.raises(ValueError, match="tasks are sums, reversing, copying"):
        Problems(0, 1, tasks)


PLAY = """ROMEO:
But soft, what light through yonder window breaks?
It is the east, and Juliet is the sun.

Juliet:
Ay me!

ROMEO:
She speaks.
"""


def test_lines_know_who_says_them_and_what_was_said_before():
    learned, held_out = characters.lines_of(PLAY * 5, longest=50)
    assert held_out and {x.speaker for x in learned} == {"ROMEO", "JULIET"}
    assert not any(len(x.cue) > characters.CUE for x in learned)
    line = next(x for x in learned if x.text == "Ay me!")
    assert "And Juliet is the sun.".lower().endswith(line.cue.lower()[-10:])
    assert line.conversation()[0]["content"] == "You are JULIET."
    assert line.prompt("ROMEO")[0]["content"] == "You are ROMEO."
    assert characters.most_frequent_speakers(learned, 1) == ["ROMEO"]


def test_every_fifth_speech_of_a_person_is_held_out():
    speeches = "\n".join(f"A:\nline {i} of a\n" for i in range(10))
    learned, held_out = characters.lines_of(speeches)
    assert [x.text for x in held_out] == ["line 4 of a", "line 9 of a"]
    assert {x.text for x in learned} & {x.text for x in held_out} == set()
