"""N-gram: the lookup table again, but a machine has counted it from a text.

Look at every place of a text, note the last n − 1 tokens and the one that follows, and count. The
share of each follower is its probability. A longer context is a better one, as long as it has been
seen; so a rare context is not trusted alone, it is mixed with the context that is one token
shorter, and that one with a shorter one still, down to "any token, all alike". This is the
smoothing of Witten and Bell (1991; as formula (24) of Chen and Goodman, 1998, has it):

    p(c | h) = (count(h c) + kinds(h) · p(c | h′)) / (count(h) + kinds(h))

where h′ is h without its first token, and kinds(h) how many different tokens have followed h: the
more different ones there were, the likelier is one that has not been there. As p(· | h′) sums to
one, so does p(· | h).

Counting is all that it can do: "cat" and "dog" are as different to it as "cat" and "q". To find out
that things are alike, a model must have numbers that can move a little. The next rung is the
smallest table with such numbers: `bigram.py`.
"""

from dataclasses import dataclass

import numpy as np

import microtensor as mt

from .base import Config, LanguageModel, with_loss


@dataclass(frozen=True)
class NGramConfig(Config):
    """The last n − 1 tokens and the next one make n. ValueError for sizes that make no model."""

    context_length: int = 3
    n: int = 4

    def __post_init__(self):
        if type(self.n) is int:  # what the context_length follows from
            object.__setattr__(self, "context_length", max(1, self.n - 1))
        super().__post_init__()


class NGram(LanguageModel):
    """Counts of all rows of up to n tokens, smoothed. `fit` counts; it has no parameters.

    The rows of k tokens that occur are numbered. A row of k + 1 tokens is then two numbers, that of
    its first k tokens and its last token, and the counts of row h's followers stand side by side:

        keys[k]    (N_{k+1},) number of h · V + follower, sorted
        counts[k]  (N_{k+1},) how often
    """

    slides = True

    def __init__(self, config=None):
        super().__init__()
        self.config = config or NGramConfig()
        self.keys, self.counts = [], []

    def fit(self, ids):
        """Count a text, a row of ids. Returns the model. ValueError if it is shorter than n."""
        n, V = self.config.n, self.config.vocab_size
        ids = np.asarray(ids, np.int64)
        if ids.ndim != 1 or len(ids) < n:
            raise ValueError(f"NGram: a text of at least {n} tokens is needed, got {ids.shape}")
        self._check_range(ids)
        self.keys, self.counts = [], []
        row = np.zeros(len(ids), np.int64)  # before each token, the number of the row of k tokens
        for k in range(n):
            keys, number, counts = np.unique(
                row * V + ids[k:], return_inverse=True, return_counts=True
            )
            self.keys.append(keys)
            self.counts.append(counts)
            row = number[:-1]  # the row of k + 1 tokens that stands before the next token
        return self

    def __len__(self):
        """The number of counts."""
        return sum(map(len, self.counts))

    def forward(self, idx, targets=None):
        """Log-probabilities (B, T, V) after tokens idx (B, T); with targets, also the mean loss."""
        self.check(idx)
        if not self.keys:
            raise RuntimeError("NGram: nothing has been counted yet; call fit(ids)")
        V = self.config.vocab_size
        ids = idx.cpu().numpy().astype(np.int64)  # (B, T)
        self._check_range(ids)
        p = np.full((*ids.shape, V), 1 / V)  # (B, T, V): the shortest context is none at all
        row = np.zeros(ids.shape, np.int64)  # the number of the row of k tokens that ends here
        for k in range(self.config.n):
            if k:  # longer by one: the row of k - 1 tokens that ended one before, and this token
                before = np.full_like(row, -1)
                before[:, 1:] = row[:, :-1]
                if k == 1:
                    before[:] = 0
                row = self._find(k - 1, before, ids)
            self._mix(p, k, row)
        return with_loss(mt.from_numpy(np.log(p).astype(np.float32)).to(idx.device), targets)

    def _check_range(self, ids):
        wrong = ids[(ids < 0) | (ids >= self.config.vocab_size)]
        if wrong.size:
            raise IndexError(f"NGram: token {wrong[0]} is outside 0 … {self.config.vocab_size - 1}")

    def _find(self, k, row, token):
        """The numbers of the rows of k + 1 tokens; −1 where it was never seen."""
        keys = self.keys[k]
        key = row * self.config.vocab_size + token
        at = np.searchsorted(keys, key).clip(max=len(keys) - 1)
        return np.where((row >= 0) & (keys[at] == key), at, -1)

    def _mix(self, p, k, row):
        """Make p (B, T, V), given k − 1 tokens, the probabilities given k tokens, in place."""
        V = self.config.vocab_size
        seen = row >= 0  # (B, T); where the row is unknown, the shorter one decides alone
        rows = row[seen]  # (M,)
        first = np.searchsorted(self.keys[k], rows * V)
        last = np.searchsorted(self.keys[k], rows * V + V)
        kinds = last - first  # (M,)
        # the places first … last of every row, one after the other
        which = np.repeat(np.arange(len(rows)), kinds)
        place = np.arange(kinds.sum()) - np.repeat(kinds.cumsum() - kinds, kinds) + first[which]
        count = np.zeros((len(rows), V))
        count[which, self.keys[k][place] % V] = self.counts[k][place]
        # A row at the very end of the text has no follower: then, too, the shorter one decides.
        kinds = np.maximum(kinds, 1)[:, None]
        p[seen] = (count + kinds * p[seen]) / (count.sum(1, keepdims=True) + kinds)
