"""Views of a model: its next tokens, and its inside. All run in the lab's thread."""

import functools

import microtensor as mt

from ... import inside
from ...generation import sampling
from ...ladder.lookup_table import LookupTable
from ...ladder.ngram import NGram, NGramConfig
from . import sizes, texts

MODELS = {
    "gpt": "this GPT",
    "ngram": "counts of four tokens in a row",
    "table": "the table written by hand",
}
SHOWN = 20  # candidates in a list
SEEN = 32  # tokens that are looked into at once
LONGEST = 20_000  # characters of a prompt
WORD = 12  # tokens of a suggestion at most
TEMPERATURES = (0, 0.5, 1, 1.5)


def speaker(lab, name):
    """(model, tokenizer) by the name that the page gives it."""
    if name == "gpt":
        return lab.model, lab.data.tokenizer
    if name == "ngram":
        if lab._ngram is None or lab._ngram[0] is not lab.data:
            V = lab.data.tokenizer.vocab_size
            lab._ngram = lab.data, NGram(NGramConfig(vocab_size=V, n=4)).fit(lab.data.ids)
        return lab._ngram[1], lab.data.tokenizer
    if name == "table":
        table = table_by_hand()
        return table, table.tokenizer
    raise ValueError(f"There is no model {name!r:.40}; there are {', '.join(MODELS)}.")


@functools.cache
def table_by_hand():
    return LookupTable()


def encoded(tokenizer, text):
    """The tokens of a prompt. ValueError, a sentence, for one that cannot be continued."""
    if len(text) > LONGEST:
        raise ValueError(f"The prompt has {len(text):,} characters; at most {LONGEST:,} are taken.")
    if not text:
        raise ValueError("The prompt is empty; type at least one character.")
    try:
        return tokenizer.encode(text)
    except ValueError as error:
        raise ValueError(f"The model does not know this prompt: {error}") from None


def prompt_ids(tokenizer, asked):
    """The tokens that a question is about: `ids` as they are, or those of `text`."""
    ids = asked.get("ids")
    if ids is None:
        return encoded(tokenizer, asked.get("text", ""))
    if len(ids) > LONGEST or not all(0 <= i < tokenizer.vocab_size for i in ids) or not ids:
        raise ValueError("The tokens do not belong to this model; type the prompt again.")
    return list(ids)


@mt.no_grad()
def logits_after(model, ids):
    """The logits (1, V) of what comes after the last tokens that the model sees."""
    with sampling.evaluating(model):
        window = mt.tensor([ids[-model.config.context_length :]])
        return inside.last_logits(model(window))


def options_of(asked, vocab_size):
    """The options of `sampling` that the sliders stand for."""
    chosen = {name: asked[name] for name in sizes.SAMPLING if name in asked}
    o = sizes.checked(sizes.SAMPLING, chosen, sizes.usual(sizes.SAMPLING))
    return {
        "temperature": o["temperature"],
        "top_k": min(o["top_k"], vocab_size) or None,
        "top_p": o["top_p"] if o["top_p"] < 1 else None,
        "min_p": o["min_p"] or None,
    }


def next_token(lab, asked):
    """The most probable tokens after a prompt; with `choose`, one of them is appended first.

    `token` appends that one; otherwise it is drawn as `sampling.sample` draws.
    """
    model, tokenizer = speaker(lab, asked.get("model", "gpt"))
    ids = prompt_ids(tokenizer, asked)
    options = options_of(asked, tokenizer.vocab_size)
    if asked.get("token") is not None:
        ids = [*ids, *prompt_ids(tokenizer, {"ids": [asked["token"]]})]
    elif asked.get("choose"):
        drawn = sampling.sample(logits_after(model, ids), generator=lab.draws, **options)
        ids = [*ids, int(drawn[0])]
    logits = logits_after(model, ids)
    p = sampling.distribution(logits, **options)[0]
    plain = sampling.distribution(logits)[0]
    k = min(SHOWN, tokenizer.vocab_size)
    order = (p + plain * 1e-9).topk(k)[1].tolist()  # what is ruled out comes last, in its order
    p, plain = p.tolist(), plain.tolist()
    return {
        "ids": ids,
        "text": tokenizer.decode(ids),
        "context": texts.shown(tokenizer, ids[-min(model.config.context_length, 64) :]),
        "context_length": model.config.context_length,
        "candidates": [
            {"id": i, "token": tokenizer.decode([i]), "probability": p[i], "before": plain[i]}
            for i in order
        ],
    }


def suggestions(lab, asked):
    """Three words that the text may go on with: the likeliest tokens, each to the word's end."""
    model, tokenizer = speaker(lab, asked.get("model", "gpt"))
    ids = prompt_ids(tokenizer, asked)
    first = logits_after(model, ids)[0].topk(min(3, tokenizer.vocab_size))[1].tolist()
    found = []
    for token in first:
        word = [token]
        while len(word) < WORD and not tokenizer.decode(word)[1:].endswith((" ", "\n")):
            word.append(int(logits_after(model, ids + word)[0].argmax()))
        found.append({"ids": word, "text": tokenizer.decode(word)})
    return {"suggestions": found}


def at_temperatures(lab, asked, n=60):
    """The same prompt continued at several temperatures, with the same random numbers."""
    model, tokenizer = speaker(lab, asked.get("model", "gpt"))
    ids = prompt_ids(tokenizer, asked)
    written = []
    for temperature in TEMPERATURES:
        tokens = sampling.generate(
            model,
            mt.tensor([ids[-model.config.context_length :]]),
            n,
            temperature,
            generator=mt.Generator().manual_seed(lab.seed),
        )
        text = tokenizer.decode([int(token[0]) for token in tokens])
        written.append({"temperature": temperature, "text": text})
    return {"texts": written}


def look_inside(lab, asked):
    """Attention of all heads, the logit lens and saliency for the last tokens of a prompt."""
    model, tokenizer = lab.model, lab.data.tokenizer
    ids = prompt_ids(tokenizer, asked)[-min(SEEN, model.config.context_length) :]
    idx = mt.tensor([ids])
    with sampling.evaluating(model):
        with mt.no_grad():
            with inside.attention(model) as heard:
                model(idx)
            lens = inside.logit_lens(model, idx)[:, 0, -1].softmax(-1)  # (L + 1, V)
        pushed = inside.saliency(model, mt.tensor(ids))
    layers = []
    for row in lens:
        p, best = row.topk(min(5, tokenizer.vocab_size))
        layers.append(
            [
                {"token": tokenizer.decode([i]), "probability": q}
                for i, q in zip(best.tolist(), p.tolist())
            ]
        )
    return {
        "tokens": texts.shown(tokenizer, ids),
        "attention": [heads.weights[0].tolist() for heads in heard],  # layers of heads (T, T)
        "lens": layers,
        "saliency": pushed.tolist(),
    }


# ---- the project's own pictures ------------------------------------------------------------------


def model_picture(lab):
    """The model at work on one window, folded; its boxes unfold."""
    idx, targets = small_batch(lab)
    model = lab.model
    return mt.graph.draw(
        lambda: model(idx, targets)[1], params=model, depth=1, title="the model", direction="LR"
    )


def step_picture(lab):
    """The graph of a training step, with the gradients that flow back."""
    idx, targets = small_batch(lab)
    model = lab.model
    return mt.graph.draw(
        lambda: model(idx, targets)[1],
        params=model,
        depth=2,
        view="backward",
        title=f"backpropagation after {lab.trainer.step:,} steps",
    )


def neuron_film(lab):
    """Backpropagation through one neuron, step by step."""
    x1, x2 = mt.tensor(2.0), mt.tensor(0.0)
    w1, w2 = mt.tensor(-3.0, requires_grad=True), mt.tensor(1.0, requires_grad=True)
    b = mt.tensor(6.88, requires_grad=True)
    y = (x1 * w1 + x2 * w2 + b).tanh()
    names = {"x1": x1, "x2": x2, "w1": w1, "w2": w2, "b": b, "y": y}
    return mt.graph.film(y, names=names, title="one neuron")


PICTURES = {"model": model_picture, "step": step_picture, "neuron": neuron_film}


def small_batch(lab):
    """Two windows to draw with."""
    return lab.trainer.train[[0, len(lab.trainer.train) // 2]]
