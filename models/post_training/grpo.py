"""Group relative policy optimisation: reinforcement learning without a critic.

    Aᵢ   = (Rᵢ − mean R) / (std R + ε₀)                       of the G answers to one prompt
    ρₜ   = π(yₜ) / π_old(yₜ)
    loss = − mean over tokens of  [min(ρₜ Aᵢ, clip(ρₜ, 1 − ε, 1 + ε) Aᵢ)  −  β kₜ]
    kₜ   = π₀(yₜ) / π(yₜ) − log(π₀(yₜ) / π(yₜ)) − 1            an estimate of KL(π ‖ π₀), ≥ 0

The model answers each prompt G times, and every answer gets a reward. Those above the mean of their
group become likelier, those below it less likely; a group that is all right or all wrong teaches
nothing. (DeepSeekMath, arXiv:2402.03300, section 4.1; tokens averaged over the whole batch as in
DAPO, arXiv:2503.14476; kₜ: http://joschu.net/blog/kl-approx.html.)
"""

import numpy as np

import microtensor as mt

from ..generation.sampling import evaluating
from ..training import Trainer
from .conversations import padded
from .replies import examples_of, graded, replies, token_logps

SMALL = 1e-4  # ε₀


def group_advantages(rewards):
    """Advantages (P, G) for the rewards (P, G) of G answers to each of P prompts."""
    mean, std = rewards.mean(-1, keepdim=True), rewards.std(-1, keepdim=True)
    return (rewards - mean) / (std + SMALL)


def clipped_objective(logps, old, advantages, epsilon=0.2):
    """min(ρ A, clip(ρ) A) for each token: what is to become large.  All (B, T)."""
    ratio = (logps - old).exp()
    clipped = ratio.clamp(1 - epsilon, 1 + epsilon)
    return mt.minimum(ratio * advantages, clipped * advantages)


def kl_estimate(logps, reference):
    """k for each token, (B, T): of log-probabilities under the policy and under the reference."""
    ratio = reference - logps
    return ratio.exp() - ratio - 1


def grpo_loss(logps, old, advantages, mask, reference=None, epsilon=0.2, beta=0.0):
    """The loss for log-probabilities of tokens (B, T), advantages (B,), and a mask (B, T).

    `old` are the log-probabilities when the answers were drawn, `reference` those of π₀, which are
    needed unless beta is 0.
    """
    gain = clipped_objective(logps, old, advantages[:, None], epsilon)
    if beta:
        gain = gain - beta * kl_estimate(logps, reference)
    return -(gain * mask).sum() / mask.sum()


class GRPOTrainer(Trainer):
    """A Trainer whose model answers `problems.draw` and is rewarded by `reward(problem, text)`.

    A step draws batch_size / group prompts and `group` answers to each, and learns from them
    `epochs` times. `reference` is a copy of the model to stay near, needed unless beta is 0.
    `rewards` holds the mean reward of each step, `kl` that of the estimate.
    """

    def __init__(self, model, tokenizer, problems, validation, *args, reward, group=8, epochs=2,
                 epsilon=0.2, beta=0.0, reference=None, max_new_tokens=16, **more):  # fmt: skip
        super().__init__(model, tokenizer, problems, validation, *args, **more)
        self.reward, self.group, self.epochs = reward, group, epochs
        self.epsilon, self.beta, self.reference = epsilon, beta, reference
        self.max_new_tokens, self.rewards = max_new_tokens, []

    def train_step(self):
        """Answers to new prompts, then a step of the optimizer for each epoch."""
        with evaluating(self.model):
            self.roll_out()
            for _ in range(self.epochs):
                loss = self.loss()
                self.update(loss)
        self.schedule.step()
        self.losses.append(loss.item())
        self.step += 1

    @mt.no_grad()
    def roll_out(self):
        """Draw answers, and give them rewards and advantages."""
        prompts = self.config.batch_size // self.group
        rng = np.random.default_rng([self.config.seed, self.step])
        problems = [p for p in self.train.draw(prompts, rng) for _ in range(self.group)]
        given = replies(
            self.model, self.tokenizer, [p.prompt() for p in problems], self.max_new_tokens,
            1.0, self.generator,
        )  # fmt: skip
        rewards = [float(self.reward(p, r.text)) for p, r in zip(problems, given)]
        rewards = mt.tensor(rewards).reshape(prompts, self.group)
        self.rewards.append(rewards.mean().item())
        self.advantages = group_advantages(rewards).flatten()
        # What teaches nothing is left out, which saves time: without β its gradient is 0.
        useful = [bool(self.beta) or a != 0 for a in self.advantages.tolist()]
        self.batch = None
        if any(useful):
            examples = [e for e, u in zip(examples_of(given), useful) if u]
            self.batch, self.advantages = padded(examples), self.advantages[mt.tensor(useful)]
            self.mask = (self.batch.targets >= 0).float()
            self.old = token_logps(self.model, self.batch)
            self.near = self.beta and token_logps(self.reference, self.batch)

    def loss(self):
        if self.batch is None:  # every group was all right or all wrong
            return sum(p.sum() for p in self.model.parameters()) * 0
        logps = token_logps(self.model, self.batch)
        return grpo_loss(
            logps, self.old, self.advantages, self.mask, self.near, self.epsilon, self.beta
        )

    def held_out_loss(self):
        """The share of wrong answers to problems that nobody is graded by in the end."""
        return 1 - graded(self.model, self.tokenizer, self.held_out, self.max_new_tokens)["exact"]

    def state_dict(self):
        return super().state_dict() | {"rewards": list(self.rewards)}

    def load_state_dict(self, state):
        super().load_state_dict(state)
        self.rewards = list(state.get("rewards", []))
