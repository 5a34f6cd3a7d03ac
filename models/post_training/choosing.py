"""You are the human: a person chooses between answers, and a model learns that person's taste.

A choice is a line of JSON in a file: what was asked, the two answers, and which was better (1 or 2;
0: neither). The file is added to line by line, so that choosing can be continued any time. Of every
four choices that prefer one, the last is held out: it is predicted, never learned from.
"""

import json
from copy import deepcopy
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from .. import files
from ..text import chat
from .conversations import encode
from .dpo import DPOTrainer, Pair, with_reference
from .reward_model import RewardModel, RewardTrainer, agreement


@dataclass(frozen=True)
class Choice:
    """A question (messages), two answers, and the better one: 1, 2, or 0 for neither."""

    asked: list
    answers: list
    better: int

    def pair(self, tokenizer, context_length):
        """The choice as a Pair, the better answer first."""
        both = [
            encode(tokenizer, [*self.asked, {"role": "assistant", "content": a}], context_length)
            for a in self.answers
        ]
        return Pair(*(both if self.better == 1 else both[::-1]))


def read(path):
    """The choices of a file; none if it is not there. ValueError, with the line, if damaged."""
    try:
        lines = files.contents(path).decode("utf-8").splitlines()
    except FileNotFoundError:
        return []
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not a file of choices: it is not UTF-8") from None
    found = []
    for number, line in enumerate(lines, 1):
        try:
            found.append(_choice(files.parsed(line)))
        except ValueError as error:
            raise ValueError(f"{path}, line {number}, is not a choice: {error}") from None
    return found


def _choice(value):
    if not isinstance(value, dict) or value.keys() != {"asked", "answers", "better"}:
        raise ValueError('{"asked": …, "answers": …, "better": …} is needed')
    chat.check_messages(value["asked"])
    answers, better = value["answers"], value["better"]
    if not isinstance(answers, list) or [type(a) for a in answers] != [str, str]:
        raise ValueError(f"two answers are needed, got {answers!r:.80}")
    if type(better) is not int or better not in (0, 1, 2):
        raise ValueError(f"better must be 1, 2 or 0, got {better!r:.60}")
    return Choice(value["asked"], answers, better)


def keep(path, choice):
    """Add a choice to a file, made if it is missing."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(choice), ensure_ascii=False) + "\n")


def parted(choices):
    """(learned from, held out): of those that prefer an answer, every fourth is held out."""
    decided = [c for c in choices if c.better]
    return [c for i, c in enumerate(decided) if i % 4 != 3], decided[3::4]


def two_answers(answer, prompts):
    """(messages, [answer, answer]) for one prompt after the other, of which the answers differ.

    `answer(messages, count)` gives so many texts.
    """
    for asked in prompts:
        texts = list(dict.fromkeys(answer(asked, 6)))
        if len(texts) > 1:
            yield asked, texts[:2]


RULES = {  # choosers that are no person
    "shorter": lambda asked, a, b: int(np.sign(len(b) - len(a))) % 3,
    "longer": lambda asked, a, b: int(np.sign(len(a) - len(b))) % 3,
}


def taste(model, tokenizer, choices, config, watch):
    """The results of training on the choices: (a model by DPO, the share of held-out choices that a
    reward model predicts, or None if there are none). `watch(name, trainer)` lets a trainer run.

    ValueError if no choice prefers an answer.
    """
    learned, held_out = (
        [c.pair(tokenizer, model.config.context_length) for c in part] for part in parted(choices)
    )
    if not learned:
        raise ValueError("nothing can be learned: none of the choices prefers an answer")
    judge = RewardModel.on(model)
    watch("reward model", RewardTrainer(judge, tokenizer, learned, learned, config))
    known = with_reference(model, learned)
    policy = deepcopy(model)
    watch("DPO", DPOTrainer(policy, tokenizer, known, known, config, beta=0.3, nll=1.0))
    return policy.eval(), agreement(judge, held_out) if held_out else None
