"""From probabilities to text: how the next token is chosen, and the loop that appends it.

A language model gives one number, a logit, for every token that may come next. Each function of the
first part does one thing to logits (B, V): the rows stay apart, and −∞ rules a token out. `sample`
puts them in order and draws; `generate` repeats; `complete` does it with texts.
"""

import math
from contextlib import contextmanager

import microtensor as mt

# ---- what each option does to the logits -------------------------------------------------------


def penalize_repetition(logits, seen, penalty):
    """Makes the tokens that `seen` (B, V) marks less likely, for a penalty above 1 (1909.05858)."""
    return mt.where(seen, mt.where(logits > 0, logits / penalty, logits * penalty), logits)


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


def keep_min_p(logits, p):
    """The tokens at least p times as likely as the likeliest (arXiv:2407.01082)."""
    if p == 0:
        return logits
    least = logits.amax(-1, keepdim=True) + math.log(p) - ROUNDING
    return logits.masked_fill(logits < least, -math.inf)


ROUNDING = 1e-6


# ---- one choice --------------------------------------------------------------------------------


@mt.no_grad()
def sample(
    logits, temperature=1.0, top_k=None, top_p=None, generator=None, *, min_p=None,
    repetition_penalty=1.0, seen=None,
):  # fmt: skip
    """One token for each row of logits (B, V): (B,). Temperature 0 takes the likeliest.

    The options act in the order of the functions above. `generator` is one for all rows, or a list
    of one for each. `seen` (B, V) marks the tokens that the penalty is for.
    ValueError for options that mean nothing: see `check_options`.
    """
    check_options(temperature, top_k, top_p, logits.shape[-1], min_p, repetition_penalty)
    options = temperature, top_k, top_p, generator, min_p, repetition_penalty
    return _choose(logits, seen, *options)


def distribution(
    logits, temperature=1.0, top_k=None, top_p=None, *, min_p=None, repetition_penalty=1.0,
    seen=None,
):  # fmt: skip
    """The probabilities (B, V) that `sample` draws from, in float64. Temperature 0: all on one."""
    check_options(temperature, top_k, top_p, logits.shape[-1], min_p, repetition_penalty)
    if temperature == 0:
        token = _choose(logits, seen, 0, penalty=repetition_penalty)
        return mt.nn.functional.one_hot(token, logits.shape[-1]).double()
    return _probabilities(logits, seen, temperature, top_k, top_p, min_p, repetition_penalty)


def _choose(logits, seen, temperature, top_k=None, top_p=None, generator=None, min_p=None,
            penalty=1.0):  # fmt: skip
    if temperature == 0:
        if penalty != 1 and seen is not None:
            logits = penalize_repetition(logits, seen, penalty)
        return logits.argmax(-1)
    p = _probabilities(logits, seen, temperature, top_k, top_p, min_p, penalty)
    if isinstance(generator, list):
        draws = [mt.multinomial(row, 1, generator=g) for row, g in zip(p, generator)]
        return mt.cat(draws)
    return mt.multinomial(p, 1, generator=generator)[:, 0]


def _probabilities(logits, seen, temperature, top_k, top_p, min_p, penalty):
    logits = logits.double()
    if penalty != 1 and seen is not None:
        logits = penalize_repetition(logits, seen, penalty)
    if temperature != 1:
        logits = scale_temperature(logits, temperature)
    if top_k is not None:
        logits = keep_top_k(logits, top_k)
    if top_p is not None:
        logits = keep_top_p(logits, top_p)
    if min_p is not None:
        logits = keep_min_p(logits, min_p)
    return logits.softmax(-1)


def check_options(
    temperature=1.0, top_k=None, top_p=None, vocab_size=None, min_p=None, repetition_penalty=1.0
):
    """ValueError unless temperature ≥ 0, top_k is in 1 … vocab_size, top_p in (0, 1], min_p in
    [0, 1] and the penalty above 0."""
    if not 0 <= temperature < math.inf:
        raise ValueError(f"temperature must be 0 (greedy) or a positive number, got {temperature}")
    if top_k is not None and not 1 <= top_k <= (vocab_size or top_k):
        range = f"within 1 … {vocab_size}, the vocabulary" if vocab_size else "at least 1"
        raise ValueError(f"top_k must be {range}, got {top_k}")
    if top_p is not None and not 0 < top_p <= 1:
        raise ValueError(f"top_p must be above 0 and at most 1, got {top_p}")
    if min_p is not None and not 0 <= min_p <= 1:
        raise ValueError(f"min_p must be within 0 … 1, got {min_p}")
    if not 0 < repetition_penalty < math.inf:
        raise ValueError(f"repetition_penalty must be above 0 (1: none), got {repetition_penalty}")


# ---- one after the other -----------------------------------------------------------------------


def generate(
    model, idx, max_new_tokens, temperature=1.0, top_k=None, top_p=None, generator=None,
    use_cache=True, *, min_p=None, repetition_penalty=1.0,
):  # fmt: skip
    """Continue the prompts idx (B, T): an iterator over max_new_tokens tokens (B,), as they come.

    The model sees the last `context_length` tokens. Where it has a `new_cache`, keys and values of
    earlier tokens are kept, which gives the same tokens sooner, until the context is full: then
    every token moves to another position, and all are computed anew. Where it `replays`, the
    operations of a token are written down and done again for the next (`nn.Replay`). With a list of
    generators, one for each row, a row gets the tokens that it would get alone.

    ValueError for an empty prompt or options that mean nothing, TypeError for a text.
    """
    if not isinstance(idx, mt.Tensor):
        raise TypeError(
            f"generate: a tensor of tokens (B, T) is needed, got {type(idx).__name__}; for a text "
            "there is generate_text(model, tokenizer, prompt, …)"
        )
    if idx.ndim != 2 or 0 in idx.shape:
        raise ValueError(
            f"generate: prompts (B, T) of at least one token are needed, got {tuple(idx.shape)}"
        )
    if max_new_tokens < 0:
        raise ValueError(f"generate: max_new_tokens must not be negative, got {max_new_tokens}")
    vocab_size = model.config.vocab_size
    check_options(temperature, top_k, top_p, vocab_size, min_p, repetition_penalty)
    if isinstance(generator, list) and len(generator) != len(idx):
        raise ValueError(f"generate: {len(generator)} generators for {len(idx)} prompts")
    cache = model.new_cache(len(idx)) if use_cache and hasattr(model, "new_cache") else None
    seen = None
    if repetition_penalty != 1:
        seen = mt.zeros(len(idx), vocab_size, dtype=mt.bool, device=idx.device)
        seen = seen.scatter(1, idx, True)
    options = temperature, top_k, top_p, generator, min_p, repetition_penalty
    return _generate(model, idx, max_new_tokens, cache, seen, options)


@mt.inference_mode()
def _generate(model, idx, max_new_tokens, cache, seen, options):
    context_length = model.config.context_length
    modules = list(model.modules())

    def step(new):
        return model(new, cache=cache)[:, -1]

    if cache and getattr(model, "replays", False):
        step = mt.nn.Replay(model, step)
    text = [idx[:, -context_length:]]  # in pieces: joined only where all of it is read
    new = text[0]
    for _ in range(max_new_tokens):
        with _evaluating(modules):
            if cache and cache.length < context_length:
                logits = step(new)
            else:
                text = [mt.cat(text, dim=1)[:, -context_length:]]
                logits = model(text[0])[:, -1]
        token = _choose(logits, seen, *options)
        new = token[:, None]
        text.append(new)
        if seen is not None:
            seen = seen.scatter(1, new, True)
        yield token


@contextmanager
def evaluating(model):
    """A model in evaluation mode (no dropout) for a while; then every module as it was."""
    with _evaluating(model.modules()):
        yield model


@contextmanager
def _evaluating(modules):
    training = [module for module in modules if module.training]
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True


# ---- texts -------------------------------------------------------------------------------------


def generate_text(model, tokenizer, prompt, max_new_tokens, **options):
    """Continue a text: an iterator over what is added to it, piece by piece.

    Takes the options of `generate_texts`, of which it is the case of one prompt.
    """
    return (piece for _, _, piece in generate_texts(
        model, tokenizer, [prompt], max_new_tokens, **options
    ))  # fmt: skip


def complete(model, tokenizer, prompts, max_new_tokens, n=1, **options):
    """The completions of a text, a list of n; for a list of texts, a list of these lists.

    Takes the options of `generate_texts`.
    """
    alone = isinstance(prompts, str)
    prompts = [prompts] if alone else list(prompts)
    texts = [[""] * n for _ in prompts]
    for i, j, piece in generate_texts(model, tokenizer, prompts, max_new_tokens, n, **options):
        texts[i][j] += piece
    return texts[0] if alone else texts


def generate_texts(
    model, tokenizer, prompts, max_new_tokens, n=1, *, stop=(), seed=None, generator=None, **options
):
    """Continue texts, n times each: an iterator of (prompt, completion, piece), the first two as
    numbers from 0, as the pieces come.

    A completion ends before a string of `stop`. Completion j of any prompt draws from the random
    numbers of seed + j, so that it is what it would be alone. Prompts of one length are one batch.
    Takes the other options of `generate`. ValueError for a prompt that is empty, that the tokenizer
    does not know, or that has more tokens than the context.
    """
    if n < 1:
        raise ValueError(f"at least one completion must be asked for, got n = {n}")
    if seed is not None and generator is not None:
        raise ValueError("give a seed or a generator, not both")
    stop = [stop] if isinstance(stop, str) else list(stop)
    if "" in stop:
        raise ValueError("a stop string must not be empty")
    batches = {}  # prompts by their length: each is computed as if there were no others
    for i, prompt in enumerate(prompts):
        ids = encode_prompt(model, tokenizer, prompt)
        batch = batches.setdefault(len(ids), [])
        batch += [(ids, Writer(i, j, tokenizer.stream(), stop)) for j in range(n)]
    parameter = next(model.parameters(), None)  # counted tables have none
    device = "cpu" if parameter is None else parameter.device
    streams = []
    for batch in batches.values():
        ids, writers = zip(*batch)
        draws = generator
        if seed is not None:
            draws = [mt.Generator().manual_seed(seed + w.completion) for w in writers]
        idx = mt.tensor(ids, device=device)
        tokens = generate(model, idx, max_new_tokens, generator=draws, **options)
        streams.append((writers, tokens))
    return _write(streams)


def check_prompt(prompt):
    """ValueError for a text that cannot be continued, since there is none."""
    if not prompt:
        raise ValueError("the prompt is empty; give at least one character to continue")


def encode_prompt(model, tokenizer, prompt):
    """The tokens of a prompt. ValueError if it cannot be continued by this model."""
    check_prompt(prompt)
    if tokenizer.vocab_size != model.config.vocab_size:
        raise ValueError(
            f"the tokenizer has {tokenizer.vocab_size} tokens, but the model was made for "
            f"{model.config.vocab_size}: they do not belong together"
        )
    ids = tokenizer.encode(prompt)
    if room(model, ids) < 0:
        raise ValueError(
            f"the prompt has {len(ids)} tokens, but the model sees {model.config.context_length} "
            "at once; give it a shorter one"
        )
    return ids


def room(model, ids):
    """The number of tokens that still fit into the model's context; no limit if it slides."""
    slides = getattr(model, "slides", False)
    return math.inf if slides else model.config.context_length - len(ids)


def _write(streams):
    """A token for every text of every batch, in turns, until all have ended."""
    while streams:
        for stream in list(streams):
            writers, tokens = stream
            token = next(tokens, None)
            ids = [None] * len(writers) if token is None else token.tolist()
            for writer, id in zip(writers, ids):
                if not writer.ended:
                    yield writer.prompt, writer.completion, writer(id)
            if token is None or all(w.ended for w in writers):
                streams.remove(stream)


class Writer:
    """Turns the tokens of one completion into text, up to a stop string.

    What may be the beginning of a stop string is held back until it is known.
    """

    def __init__(self, prompt, completion, stream, stop):
        self.prompt, self.completion, self.stop = prompt, completion, stop
        self.stream, self.held, self.ended = stream, "", False

    def __call__(self, id):
        """The text that a token adds for certain; None ends the text."""
        self.ended = id is None
        text = self.held + (self.stream.flush() if self.ended else self.stream(id))
        places = [place for s in self.stop if (place := text.find(s)) >= 0]
        if places:
            self.ended = True
            return text[: min(places)]
        hold = 0 if self.ended else max((overlap(text, s) for s in self.stop), default=0)
        self.held = text[len(text) - hold :]
        return text[: len(text) - hold]


def overlap(text, s):
    """The number of characters at the end of a text that begin s, without being all of it."""
    lengths = range(min(len(text), len(s) - 1), 0, -1)
    return next((n for n in lengths if text.endswith(s[:n])), 0)
