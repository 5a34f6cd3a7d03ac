"""Pairs of answers, one better than the other: what a preference is learned from.

A model answers a prompt several times; whoever judges says which of two is better. Here that is a
rule, or a person (`choosing`). Answers that are equally good make no pair.
"""

import itertools

from .dpo import Pair
from .replies import examples_of, replies


def rule(problem, text):
    """The reward of an answer: right before wrong, and of the right ones the form preferred."""
    exact = problem.exact(text)
    return int(exact) + int(exact and problem.preferred(text))


def sampled_pairs(model, tokenizer, asked, judge, samples=4, max_new_tokens=16, generator=None,
                  per_prompt=2):  # fmt: skip
    """Pairs of a model's own answers to `asked`, things with a `prompt()`, by `judge(thing, text)`.

    Of each prompt's `samples` at most `per_prompt` pairs are taken.
    """
    asked = [thing for thing in asked for _ in range(samples)]
    prompts = [thing.prompt() for thing in asked]
    given = replies(model, tokenizer, prompts, max_new_tokens, 1.0, generator)
    examples, found = examples_of(given), []
    for start in range(0, len(asked), samples):
        scores = {i: judge(asked[i], given[i].text) for i in range(start, start + samples)}
        unequal = [
            (i, j) if scores[i] > scores[j] else (j, i)
            for i, j in itertools.combinations(scores, 2)
            if scores[i] != scores[j]
        ]
        found += [Pair(examples[i], examples[j]) for i, j in unequal[:per_prompt]]
    return found
