"""From probabilities to text: how the next token is chosen, and the loop that appends it.

A language model gives one number, a logit, for every token that may come next. Each function below
does one thing to logits (B, V): the rows stay apart, and −∞ rules a token out. `sample` puts them
in order and draws; `generate` repeats.
"""

import math
from contextlib import contextmanager

import microtensor as mt

# ---- one choice --------------------------------------------------------------------------------


def scale_temperature(logits, temperature):
    """Logits divided by a temperature: below 1 the likely gets likelier, above 1 less so."""
    # Shifted so that the largest is 0, no temperature makes them overflow upwards.
    return (logits - logits.amax(-1, keepdim=True)) / temperature


def keep_top_k(logits, k):
    """The k largest logits of each row; of equal ones, the first."""
    values, positions = logits.topk(k, dim=-1)
    return mt.full_like(logits, -math.inf).scatter(-1, positions, values)


def keep_top_p(logits, p):
    """The smallest set of tokens whose probabilities sum to at least p (arXiv:1904.09751)."""
    if p == 1:
        return logits
    values, positions = logits.sort(dim=-1, descending=True, stable=True)
    probabilities = values.softmax(-1)
    before = probabilities.cumsum(-1) - probabilities  # the mass of all that is likelier
    # A sum that misses p by rounding alone has reached it: 0.25 + 0.25 may be 0.49999998.
    values = values.masked_fill(before >= p * (1 - ROUNDING), -math.inf)
    return logits.scatter(-1, positions, values)


ROUNDING = 1e-6


@mt.no_grad()
def sample(logits, temperature=1.0, top_k=None, top_p=None, generator=None):
    """One token for each row of logits (B, V): (B,). Temperature 0 takes the likeliest.

    ValueError for options that mean nothing: see `check_options`.
    """
    check_options(temperature, top_k, top_p, logits.shape[-1])
    if temperature == 0:
        return logits.argmax(-1)
    logits = scale_temperature(logits.double(), temperature)
    if top_k is not None:
        logits = keep_top_k(logits, top_k)
    if top_p is not None:
        logits = keep_top_p(logits, top_p)
    return mt.multinomial(logits.softmax(-1), 1, generator=generator)[:, 0]


def check_options(temperature=1.0, top_k=None, top_p=None, vocab_size=None):
    """ValueError unless temperature ≥ 0, top_k is in 1 … vocab_size, and top_p in (0, 1]."""
    if not 0 <= temperature < math.inf:
        raise ValueError(f"temperature must be 0 (greedy) or a positive number, got {temperature}")
    if top_k is not None and not 1 <= top_k <= (vocab_size or top_k):
        range = f"within 1 … {vocab_size}, the vocabulary" if vocab_size else "at least 1"
        raise ValueError(f"top_k must be {range}, got {top_k}")
    if top_p is not None and not 0 < top_p <= 1:
        raise ValueError(f"top_p must be above 0 and at most 1, got {top_p}")


# ---- one after the other -----------------------------------------------------------------------


def generate(
    model, idx, max_new_tokens, temperature=1.0, top_k=None, top_p=None, generator=None,
    use_cache=True,
):  # fmt: skip
    """Continue the prompts idx (B, T): an iterator over max_new_tokens tokens (B,), as they come.

    The model sees the last `context_length` tokens. Where it has a `new_cache`, keys and values of
    earlier tokens are kept, which gives the same tokens sooner, until the context is full: then
    every token moves to another position, and all are computed anew.

    ValueError for an empty prompt or options that mean nothing.
    """
    if idx.ndim != 2 or 0 in idx.shape:
        raise ValueError(
            f"generate: prompts (B, T) of at least one token are needed, got {tuple(idx.shape)}"
        )
    if max_new_tokens < 0:
        raise ValueError(f"generate: max_new_tokens must not be negative, got {max_new_tokens}")
    check_options(temperature, top_k, top_p, model.config.vocab_size)
    cache = model.new_cache(len(idx)) if use_cache and hasattr(model, "new_cache") else None
    return _generate(model, idx, max_new_tokens, cache, (temperature, top_k, top_p, generator))


@mt.no_grad()
def _generate(model, idx, max_new_tokens, cache, options):
    context_length = model.config.context_length
    idx = idx[:, -context_length:]
    for _ in range(max_new_tokens):
        with evaluating(model):
            if cache and cache.length < context_length:
                logits = model(idx[:, cache.length :], cache=cache)
            else:
                logits = model(idx)
        token = sample(logits[:, -1], *options)
        idx = mt.cat([idx, token[:, None]], dim=1)[:, -context_length:]
        yield token


def generate_text(model, tokenizer, prompt, max_new_tokens, **options):
    """Continue a text: an iterator over what is added to it, piece by piece.

    Takes the options of `generate`. ValueError for an empty prompt, or for a character that the
    tokenizer does not know.
    """
    if not prompt:
        raise ValueError("the prompt is empty; give at least one character to continue")
    device = next(model.parameters()).device
    idx = mt.tensor([tokenizer.encode(prompt)], device=device)
    return _decoded(generate(model, idx, max_new_tokens, **options), tokenizer.stream())


def _decoded(tokens, stream):
    for token in tokens:
        yield stream(token.item())
    yield stream.flush()


@contextmanager
def evaluating(model):
    """A model in evaluation mode (no dropout) for a while; then every module as it was."""
    training = [module for module in model.modules() if module.training]
    for module in training:
        module.training = False
    try:
        yield model
    finally:
        for module in training:
            module.training = True
