"""A reward model: one number for an answer, learned from pairs of them.

    P(y⁺ is preferred to y⁻) = σ(r(y⁺) − r(y⁻)),        loss = − log σ(r(y⁺) − r(y⁻))

r is a language model whose head gives one number instead of a logit for each token; the answer's
reward is what it says at the last token. Only differences are learned: a constant added to all
rewards changes nothing. (Bradley and Terry, Biometrika 39, 1952; Stiennon et al.,
arXiv:2009.01325, section 3.4.)
"""

from dataclasses import asdict, dataclass, field

import microtensor as mt
import microtensor.nn.functional as F
from microtensor import nn

from ..generation.sampling import evaluating
from ..training import Trainer, architecture, register
from .dpo import both


def bradley_terry_loss(chosen, rejected):
    """−log σ(r⁺ − r⁻) for rewards (B,) each."""
    return -F.logsigmoid(chosen - rejected)


@dataclass(frozen=True)
class RewardModelConfig:
    """The language model that a reward model is built on: its class and its sizes."""

    architecture: str = "MiniGPT"
    sizes: dict = field(default_factory=dict)

    @property
    def inner(self):
        """The config of that language model."""
        return architecture(self.architecture)[1](**self.sizes)

    @property
    def vocab_size(self):
        return self.inner.vocab_size

    @property
    def numbers(self):
        return self.inner.numbers + self.inner.d_model + 1

    @property
    def tables(self):
        return self.inner.tables


class RewardModel(nn.Module):
    """A language model with a head that gives one number for every place."""

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.model = architecture(config.architecture)[0](config.inner)
        self.score = nn.Linear(config.inner.d_model, 1)
        nn.init.zeros_(self.score.weight)
        nn.init.zeros_(self.score.bias)

    @classmethod
    def on(cls, model):
        """A reward model that begins as a language model, and finds everything equally good."""
        new = cls(RewardModelConfig(type(model).__name__, asdict(model.config)))
        new.model.load_state_dict(model.state_dict())
        return new

    def forward(self, idx):
        """One number for each place of idx (B, T): (B, T)."""
        return self.score(self.model.hidden(idx))[..., 0]

    def rewards(self, batch):
        """The reward (B,) of each answer of a `conversations.Batch`.

        It is the number at the place where the whole answer has been read, and `<|end|>` is next.
        """
        places = mt.arange(batch.idx.shape[1])
        last = mt.where(batch.targets >= 0, places, 0).amax(-1)  # (B,)
        return self(batch.idx).gather(1, last[:, None])[:, 0]


register(RewardModel, RewardModelConfig)


class RewardTrainer(Trainer):
    """A Trainer of a RewardModel whose data are lists of `dpo.Pair`s."""

    def loss(self):
        chosen = mt.randint(len(self.train), (self.config.batch_size,), generator=self.generator)
        return self.loss_of([self.train[i] for i in chosen.tolist()])

    def loss_of(self, pairs):
        return bradley_terry_loss(*self.model.rewards(both(pairs)).chunk(2)).mean()

    @mt.no_grad()
    def held_out_loss(self):
        with evaluating(self.model):
            return self.loss_of(self.held_out).item()


@mt.no_grad()
def agreement(model, pairs, batch_size=128):
    """The share of pairs in which the answer that was preferred gets the higher reward."""
    right = 0
    with evaluating(model):
        for start in range(0, len(pairs), batch_size):
            chosen, rejected = model.rewards(both(pairs[start : start + batch_size])).chunk(2)
            right += int((chosen > rejected).sum())
    return right / len(pairs)
