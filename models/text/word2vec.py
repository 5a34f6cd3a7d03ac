"""word2vec: words that are used alike get vectors that are alike (Mikolov et al., 2013).

Skip-gram: from a word, guess the words around it. With negative sampling (arXiv:1310.4546) the
guess is a yes or no: is this pair of words from the text, or is its second word one drawn at
random? For a word c, a word o beside it, and K random words n,

    loss = −log σ(u_o · v_c) − Σ_n log σ(−u_n · v_c)

v is the table of words as centres, which is kept; u that of words as neighbours.

Shapes: B pairs in a batch, K random words for each, C channels, V words.
"""

import re
from collections import Counter
from dataclasses import dataclass

import numpy as np

import microtensor as mt
import microtensor.nn.functional as F
from microtensor import nn
from microtensor.optim import Adam

# ---- words ---------------------------------------------------------------------------------------

WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")  # letters, and what joins them: o'er, well-born


class Words:
    """The words of a text, in small letters, that occur `min_count` times: frequent ones first.

    `ids` is the text as a row of their numbers, the rarer words left out. ValueError if fewer than
    two are left.
    """

    def __init__(self, text, min_count=10):
        found = WORD.findall(text.lower())
        counts = [(w, n) for w, n in Counter(found).most_common() if n >= min_count]
        if len(counts) < 2:
            raise ValueError(
                f"the text has {len(counts)} words that occur {min_count} times or more; two at "
                "least are needed"
            )
        self.words, self.counts = [w for w, _ in counts], np.array([n for _, n in counts])
        self.index = {w: i for i, w in enumerate(self.words)}
        self.ids = np.array([self.index[w] for w in found if w in self.index])

    def __len__(self):
        return len(self.words)

    def number(self, word):
        """The number of a word. ValueError for one that is not there."""
        try:
            return self.index[word.lower()]
        except KeyError:
            raise ValueError(f"{word!r} is not among the {len(self):,} words") from None


# ---- the model -----------------------------------------------------------------------------------


class SkipGram(nn.Module):
    """A table of V words as centres, and one of V words as neighbours, C channels each."""

    def __init__(self, words, channels):
        super().__init__()
        self.centre, self.around = nn.Embedding(words, channels), nn.Embedding(words, channels)
        nn.init.uniform_(self.centre.weight, -0.5 / channels, 0.5 / channels)
        nn.init.zeros_(self.around.weight)

    def forward(self, centre, around, random):
        """The mean loss of pairs (B,), (B,), each against random words (B, K)."""
        v = self.centre(centre)[:, :, None]  # (B, C, 1)
        others = mt.cat([around[:, None], random], dim=1)  # (B, 1 + K)
        scores = (self.around(others) @ v)[..., 0]  # (B, 1 + K, C) @ (B, C, 1) -> (B, 1 + K)
        signs = mt.cat([scores.new_ones(1), -scores.new_ones(random.shape[1])])
        return -F.logsigmoid(scores * signs).sum(1).mean()


# ---- learning ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Word2VecConfig:
    """The settings of learning. ValueError for numbers that cannot be meant."""

    channels: int = 64
    window: int = 4  # the farthest neighbour; nearer ones are taken more often
    random: int = 5  # random words against each pair
    epochs: int = 10
    batch_size: int = 1024
    lr: float = 5e-3  # falls to nothing in a line
    keep: float = 1e-3  # a word with a larger share of the text is left out now and then
    seed: int = 0

    def __post_init__(self):
        for name in ("channels", "window", "random", "epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("lr", "keep"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0, got {getattr(self, name)}")


def learn(words, config=None):
    """Learn vectors for `Words`: an iterator over (step, share, model, loss), one for each batch.

    `share` is how much of the learning is done. At step 0 it is 0, and loss is None. ValueError for
    a text so short that, without its frequent words, no two are left side by side.
    """
    config = config or Word2VecConfig()
    rng = np.random.default_rng(config.seed)
    mt.manual_seed(config.seed)
    model = SkipGram(len(words), config.channels)
    optimizer = Adam(model.parameters(), lr=config.lr)
    thresholds = np.cumsum(words.counts**0.75)  # random words come by this power, as in the paper
    step = 0
    yield 0, 0.0, model, None
    for epoch in range(config.epochs):
        found = pairs(words, config, rng)
        for start in range(0, len(found), config.batch_size):
            centre, around = found[start : start + config.batch_size].T
            drawn = rng.random((len(centre), config.random)) * thresholds[-1]
            random = np.searchsorted(thresholds, drawn, side="right")
            loss = model(mt.tensor(centre), mt.tensor(around), mt.tensor(random))
            share = (epoch + start / len(found)) / config.epochs
            optimizer.param_groups[0]["lr"] = config.lr * (1 - share)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1
            done = min(1.0, (start + config.batch_size) / len(found))
            yield step, (epoch + done) / config.epochs, model, loss.item()
    if step == 0:
        raise ValueError("the text is too short: no two of its rarer words stand side by side")


def pairs(words, config, rng):
    """All (word, word near it) of the text, shuffled: (P, 2).

    Frequent words are left out at random, the others move together. A neighbour at distance d is
    taken in (window + 1 − d) of window cases.
    """
    share = words.counts / words.counts.sum()
    ids = words.ids[rng.random(len(words.ids)) < np.sqrt(config.keep / share)[words.ids]]
    reach = rng.integers(1, config.window + 1, len(ids))  # of each word, this time
    found = []
    for d in range(1, min(config.window, len(ids) - 1) + 1):
        left, right = ids[:-d], ids[d:]
        found.append(np.stack([left, right], 1)[reach[:-d] >= d])
        found.append(np.stack([right, left], 1)[reach[d:] >= d])
    return rng.permutation(np.concatenate(found)) if found else np.empty((0, 2), np.int64)
