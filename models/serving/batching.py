"""Batches of texts that join and leave: the logits of each one's next token.

Every text gets the numbers that it would get alone, to the last bit, whatever else runs. Its prompt
is read by itself, in pieces of a fixed size; after that a token of each text is computed in one
batch, in which no row's result depends on the others (`backends/weights.py`, `nn.BatchCache`).
"""

import microtensor as mt
from microtensor import nn
from microtensor.backends.numba import SMALL
from microtensor.backends.weights import FEW, FloatWeight, StoredWeight
from microtensor.quantization.quantize import quantizable

PIECE = 64  # tokens of a prompt that are read at once


def batch_for(model, rows):
    """A batch that computes the next tokens of up to `rows` texts with a model."""
    if getattr(model, "replays", False) and hasattr(model, "new_cache"):
        return Together(model, rows)
    return Apart(model, rows)


class Text:
    """A text as a batch knows it: its ids, and where the window begins that the model sees."""

    def __init__(self, ids):
        self.ids, self.start, self.row, self.memory = list(ids), 0, None, None


class Together:
    """Texts with a key/value cache, whose next tokens are computed in one batch.

    Once the context is full, a text's window slides: it is read anew for every token, in pieces.
    """

    def __init__(self, model, rows):
        self.model, self.context = model, model.config.context_length
        for _, module, name in quantizable(model):
            parameter = module._parameters[name]
            if not isinstance(parameter._data, StoredWeight) and parameter.dtype is mt.float32:
                parameter._data = FloatWeight(parameter._data)
        # Loops for small arrays are others than for large ones, so no batch is smaller than the
        # first of these; what fills it up is a row of the cache that is nobody's.
        widths = [getattr(model.config, name, SMALL) for name in ("d_model", "d_mlp")]
        self.least = max(1, min(FEW, -(-SMALL // min(widths))))
        self.cache = nn.BatchCache(model.new_cache(rows + 1))
        self.free, self.nobody = list(range(rows))[::-1], rows
        self.steps = {}  # by the size of a batch: its operations, written down (`nn.Replay`)

    def open(self, text):
        text.row = self.free.pop()

    def close(self, text):
        if text.row is not None:
            self.cache.clear(text.row)
            self.free.append(text.row)
            text.row = None

    def is_ready(self, text):
        """True if one token is left to be read, so that it can be computed with others."""
        read = int(self.cache.lengths[text.row])
        return 0 < read < self.context and text.start + read + 1 == len(text.ids)

    def read(self, text):
        """Read a piece of a text: the logits (V,) of what comes next, None before its end."""
        read = int(self.cache.lengths[text.row])
        if read in (0, self.context):  # the beginning, or the window slides
            self.cache.clear(text.row)
            text.start, read = max(0, len(text.ids) - self.context), 0
        piece = text.ids[text.start + read :][:PIECE]
        self.cache.select([text.row])
        logits = self.model(mt.tensor([piece]), cache=self.cache)
        self.cache.advance(len(piece))
        return logits[0, -1] if text.start + read + len(piece) == len(text.ids) else None

    def next(self, texts):
        """The logits (B, V) of what comes next in each of some texts that are ready."""
        found = []
        for start in range(0, len(texts), FEW):
            some = texts[start : start + FEW]
            size = max(self.least, len(some))
            fill = size - len(some)
            self.cache.select([t.row for t in some] + [self.nobody] * fill)
            new = mt.tensor([[t.ids[-1]] for t in some] + [[0]] * fill)
            found.append(self._step(size)(new)[: len(some)])
            self.cache.advance(1)
            self.cache.clear(self.nobody)
        return mt.cat(found) if len(found) > 1 else found[0]

    def _step(self, size):
        if size not in self.steps:

            def step(new):
                return self.model(new, cache=self.cache)[:, -1]

            self.steps[size] = nn.Replay(self.model, step)
        return self.steps[size]


class Apart:
    """Texts of a model without such a cache: each is computed by itself, from its last tokens."""

    def __init__(self, model, rows):
        self.model, self.context = model, model.config.context_length
        self.free = list(range(rows))
        self.remembers = hasattr(model, "new_cache")  # a state that is carried along

    def open(self, text):
        text.row = self.free.pop()
        text.memory = self.model.new_cache(1) if self.remembers else None

    def close(self, text):
        if text.row is not None:
            self.free.append(text.row)
            text.row = text.memory = None

    def is_ready(self, text):
        return False

    def read(self, text):
        """Read a piece of a text: the logits (V,) of what comes next, None before its end."""
        if text.memory is None:
            return self.model(mt.tensor([text.ids[-self.context :]]))[0, -1]
        piece = text.ids[text.memory.length :][:PIECE]
        logits = self.model(mt.tensor([piece]), cache=text.memory)
        return logits[0, -1] if text.memory.length == len(text.ids) else None
