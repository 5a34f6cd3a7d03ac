"""Recurrent: a network with a memory, the predecessor of attention.

It reads one token at a time. What it has read so far is one vector, the state h; a cell makes the
next state from it and the token, with the same weights at every step:

    RNN    h = tanh(W x + U h + b)                            (Elman, 1990)
    GRU    two gates, numbers between 0 and 1, decide how much of the old state is asked for the
           new one, and how much of it simply stays            (Cho et al., 2014)
    LSTM   a second state c that is only added to and forgotten from; three gates say what is
           written, kept and shown                             (Hochreiter, Schmidhuber, 1997)

The gradient goes the same way back, multiplied by the same weights at every step. It shrinks or
grows by that, step by step, until it is nothing or everything. Gates are the remedy against the
first: what stays is multiplied by one. Against the second, gradients are clipped: if all of them
together are longer than a limit, they are shortened to it.

In generation the state is carried along: a token costs the same however long the text is. The price
is that everything must fit through this one vector, and that step t cannot begin before step t − 1
has ended. The next rung keeps every token where it is and looks back: `tiny_attention.py`.
"""

from dataclasses import dataclass

from microtensor import nn

from .base import Config, LanguageModel, with_loss

CELLS = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}
NO_LIMIT = 2**31 - 1


@dataclass(frozen=True)
class RecurrentConfig(Config):
    """The sizes of a Recurrent, and its cell. ValueError for what makes no model."""

    context_length: int = NO_LIMIT  # a state looks back as far as it remembers
    cell: str = "gru"  # or "rnn" or "lstm"
    d_model: int = 128
    n_layers: int = 1

    def __post_init__(self):
        super().__post_init__()
        if self.cell not in CELLS:
            raise ValueError(f"cell must be {', '.join(CELLS)}, got {self.cell!r:.60}")

    @property
    def numbers(self):
        V, C, parts = self.vocab_size, self.d_model, {"rnn": 1, "gru": 3, "lstm": 4}[self.cell]
        return V * C + self.n_layers * parts * (2 * C * C + 2 * C) + (C + 1) * V


class Recurrent(LanguageModel):
    """A language model of RNN, GRU or LSTM cells."""

    slides = True

    def __init__(self, config=None):
        super().__init__()
        self.config = config = config or RecurrentConfig()
        C = config.d_model
        self.token_embedding = nn.Embedding(config.vocab_size, C)
        self.cells = CELLS[config.cell](C, C, config.n_layers, batch_first=True)
        self.head = nn.Linear(C, config.vocab_size)

    def forward(self, idx, targets=None, cache=None):
        """Logits (B, T, V) for tokens idx (B, T); with targets (B, T), also the mean loss.

        With a `new_cache`, idx are the tokens after those that it has read.
        """
        self.check(idx)
        x = self.token_embedding(idx)  # (B, T) -> (B, T, C)
        y, state = self.cells(x, cache.state if cache else None)  # (B, T, C), (layers, B, C)
        if cache is not None:
            cache.state, cache.length = state, cache.length + idx.shape[1]
        return with_loss(self.head(y), targets)  # (B, T, C) -> (B, T, V)

    def new_cache(self, batch_size):
        """The memory before the first token, to be given to `forward`."""
        return Memory()


class Memory:
    """The state after the tokens so far, and how many they were."""

    state, length = None, 0  # None: zeros
