"""Direct preference optimisation: from pairs of answers, the better one and the worse.

    loss = − log σ(β [(log π(y⁺) − log π₀(y⁺)) − (log π(y⁻) − log π₀(y⁻))])  +  α · NLL(y⁺)

π is the model that learns, π₀ the one that it began as (the reference), y⁺ the answer that was
preferred to y⁻. A model is moved away from the reference only where the pairs ask for it; β says
how dear that is. (Rafailov et al., arXiv:2305.18290, equation 7. The last term, which keeps the
probability of y⁺ itself from falling: Pang et al., arXiv:2404.19733.)
"""

from dataclasses import dataclass

import numpy as np

import microtensor as mt
import microtensor.nn.functional as F

from ..generation.sampling import evaluating
from ..training import Trainer
from .conversations import padded
from .replies import token_logps


def dpo_loss(chosen, rejected, reference_chosen, reference_rejected, beta=0.1):
    """−log σ of β times how much more the policy prefers y⁺ than the reference does: (B,) each.

    The arguments are log-probabilities of whole answers, (B,).
    """
    margin = (chosen - reference_chosen) - (rejected - reference_rejected)
    return -F.logsigmoid(beta * margin)


@dataclass
class Pair:
    """Two examples (ids, mask) with one prompt, and their reference log-probabilities, if known."""

    chosen: tuple
    rejected: tuple
    reference: tuple = None


def answer_logps(model, batch):
    """The log-probability (B,) of each row's answer."""
    return token_logps(model, batch).sum(-1)


def both(pairs, padding=0):
    """A Batch of 2 B rows: first all that were preferred, then all that were not."""
    return padded([p.chosen for p in pairs] + [p.rejected for p in pairs], padding)


@mt.no_grad()
def with_reference(model, pairs, batch_size=64):
    """The pairs with the log-probabilities that the reference gives, computed once."""
    known = []
    with evaluating(model):
        for start in range(0, len(pairs), batch_size):
            some = pairs[start : start + batch_size]
            logps = answer_logps(model, both(some)).numpy().reshape(2, -1)
            known += [Pair(p.chosen, p.rejected, tuple(l.tolist())) for p, l in zip(some, logps.T)]
    return known


class DPOTrainer(Trainer):
    """A Trainer whose data are lists of Pairs `with_reference`.

    `beta` and `nll` are β and α above. Dropout is off: the policy is compared with a reference that
    has none.
    """

    def __init__(self, *args, beta=0.1, nll=0.0, **more):
        super().__init__(*args, **more)
        self.beta, self.nll = beta, nll

    def loss(self):
        chosen = mt.randint(len(self.train), (self.config.batch_size,), generator=self.generator)
        with evaluating(self.model):
            return self.loss_of([self.train[i] for i in chosen.tolist()])

    def loss_of(self, pairs):
        batch = both(pairs)
        chosen, rejected = answer_logps(self.model, batch).chunk(2)
        reference = mt.tensor(np.array([p.reference for p in pairs], np.float32))  # (B, 2)
        loss = dpo_loss(chosen, rejected, reference[:, 0], reference[:, 1], self.beta).mean()
        if self.nll:
            tokens = (batch.targets[: len(pairs)] >= 0).sum()
            loss = loss - self.nll * chosen.sum() / tokens
        return loss

    @mt.no_grad()
    def held_out_loss(self):
        with evaluating(self.model):
            return self.loss_of(self.held_out).item()
