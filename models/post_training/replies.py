"""Answers of an assistant: many prompts at once, and the probability of each token.

Prompts of one length are one batch with a key/value cache; a batch ends when all its answers have.
"""

from dataclasses import dataclass

import numpy as np

import microtensor as mt
import microtensor.nn.functional as F

from ..generation import sampling
from ..text import chat
from .conversations import padded


@dataclass
class Reply:
    """An answer: the tokens of its prompt, its own with the one that ends it, and its text."""

    prompt: list
    ids: list
    text: str


def replies(model, tokenizer, prompts, max_new_tokens, temperature=1.0, generator=None):
    """A Reply to each of the conversations `prompts`, which end with what a person says.

    One that has not ended after `max_new_tokens`, or where the context ends, is cut there.
    """
    end = chat.end_id(tokenizer)
    rendered = [chat.render(tokenizer, p, add_generation_prompt=True)[0] for p in prompts]
    found = [None] * len(prompts)
    by_length = {}
    for i, ids in enumerate(rendered):
        by_length.setdefault(len(ids), []).append(i)
    for length, members in sorted(by_length.items()):
        room = min(max_new_tokens, model.config.context_length - length + 1)
        if room < 1:
            raise ValueError(
                f"a prompt of {length} tokens leaves no room to answer in a context of "
                f"{model.config.context_length}"
            )
        idx = mt.tensor([rendered[i] for i in members])
        for i, ids in zip(members, _answers(model, idx, room, end, temperature, generator)):
            found[i] = Reply(rendered[i], ids, chat.reply(tokenizer, ids))
    return found


def _answers(model, idx, room, end, temperature, generator):
    """The tokens of each row's answer, up to and with the one that ends it."""
    columns, ended = [], np.zeros(len(idx), bool)
    for token in sampling.generate(model, idx, room, temperature, generator=generator):
        columns.append(token.numpy())
        ended |= columns[-1] == end
        if ended.all():
            break
    rows = np.stack(columns, 1)  # (B, T)
    stops = np.where((rows == end).any(1), (rows == end).argmax(1) + 1, rows.shape[1])
    return [row[:stop].tolist() for row, stop in zip(rows, stops)]


def examples_of(given):
    """Replies as examples (ids, mask): the mask is true for the tokens of the answer."""
    return [
        (
            np.array(r.prompt + r.ids),
            np.r_[np.zeros(len(r.prompt), bool), np.ones(len(r.ids), bool)],
        )
        for r in given
    ]


def token_logps(model, batch):
    """log p (B, T) of every target of a Batch, 0 where there is none."""
    return logps_of(model(batch.idx), batch.targets)


def logps_of(logits, targets):
    """log p (B, T) of targets (B, T) under logits (B, T, V), 0 where there is none."""
    losses = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none")
    return -losses.reshape(targets.shape)  # (B T) -> (B, T)


def graded(model, tokenizer, problems, max_new_tokens=16):
    """The shares of greedy answers that are exact, and that have the preferred form: {"exact",
    "preferred", and one entry for each task, which is its share of exact answers}.
    """
    given = replies(model, tokenizer, [p.prompt() for p in problems], max_new_tokens, 0)
    right = {}
    for problem, reply in zip(problems, given):
        right.setdefault(problem.task, []).append(problem.exact(reply.text))
    forms = [p.preferred(r.text) for p, r in zip(problems, given)]
    exact = [r for rights in right.values() for r in rights]
    found = {"exact": float(np.mean(exact)), "preferred": float(np.mean(forms))}
    return found | {task: float(np.mean(rights)) for task, rights in right.items()}


@mt.no_grad()
def divergence(model, reference, tokenizer, prompts, max_new_tokens=16, generator=None):
    """KL(model ‖ reference) of whole answers in nats, estimated by the mean of log p − log p₀ over
    answers that the model draws."""
    given = replies(model, tokenizer, prompts, max_new_tokens, 1.0, generator)
    total = 0.0
    with sampling.evaluating(model), sampling.evaluating(reference):
        for start in range(0, len(given), 128):
            batch = padded(examples_of(given[start : start + 128]))
            away = token_logps(model, batch) - token_logps(reference, batch)
            total += away.sum().item()
    return total / len(given)
