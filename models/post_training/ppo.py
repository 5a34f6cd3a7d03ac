"""Proximal policy optimisation: reinforcement learning against a reward model, with a value head.

    rₜ   = −β log(π(yₜ) / π₀(yₜ)),  and r(y), the reward, added at the last token
    δₜ   = rₜ + γ Vₜ₊₁ − Vₜ,        Aₜ = δₜ + γ λ Aₜ₊₁,        Rₜ = Aₜ + Vₜ
    loss = − mean min(ρₜ Aₜ, clip(ρₜ, 1 − ε, 1 + ε) Aₜ) + c ½ mean max((Vₜ − Rₜ)², (clip Vₜ − Rₜ)²)

V, the value head, guesses at each token what reward is still to come; the advantage A is how much
better it came. β keeps the policy near the reference π₀: without it the policy finds what the
reward model likes and nobody else does, which is called reward hacking. (PPO: arXiv:1707.06347; A:
arXiv:1506.02438; for language models: arXiv:2203.02155; what β is for: arXiv:2210.10760.)
"""

import numpy as np

import microtensor as mt
from microtensor import nn, optim

from ..generation.sampling import evaluating
from ..training import Trainer
from .conversations import padded
from .grpo import clipped_objective
from .replies import examples_of, logps_of, replies, token_logps


def advantages_of(rewards, values, mask, gamma=1.0, lam=0.95):
    """Generalised advantages A and returns R, (B, T) arrays, for those of rewards and values.

    `mask` is true at an answer's tokens, which stand side by side; after the last, V = 0.
    """
    A = np.zeros_like(rewards)
    last = np.zeros(len(rewards), rewards.dtype)
    for t in reversed(range(rewards.shape[1])):
        after = mask[:, t + 1] if t + 1 < rewards.shape[1] else np.zeros(len(rewards), bool)
        following = values[:, t + 1] * after if t + 1 < rewards.shape[1] else 0.0
        delta = rewards[:, t] + gamma * following - values[:, t]
        last = np.where(mask[:, t], delta + gamma * lam * last * after, 0.0)
        A[:, t] = last
    return A, A + values * mask


def whitened(A, mask):
    """Advantages (B, T) with mean 0 and variance 1 over the tokens of a mask."""
    chosen = A[mask]
    return np.where(mask, (A - chosen.mean()) / (chosen.std() + 1e-8), 0).astype(A.dtype)


def ppo_loss(logps, old, advantages, values, old_values, returns, mask, epsilon=0.2,
             value_epsilon=0.2, value_weight=0.1):  # fmt: skip
    """The loss for (B, T) of all: log-probabilities and values now, and when answers were drawn."""
    near = old_values + (values - old_values).clamp(-value_epsilon, value_epsilon)
    error = mt.maximum((values - returns) ** 2, (near - returns) ** 2)
    gain = clipped_objective(logps, old, advantages, epsilon)
    return ((value_weight * 0.5 * error - gain) * mask).sum() / mask.sum()


class PPOTrainer(Trainer):
    """A Trainer whose model answers prompts that `train(count, rng)` draws.

    `reward(batch, replies)` gives the (B,) rewards that are learned from; `gold`, a function of
    texts or None, is measured beside them and never learned from. `reference` is the model that it
    stays near to. `history` has a row for each step: rewards, gold, and the KL to the reference.
    """

    def __init__(self, model, tokenizer, train, held_out, *args, reward, reference, gold=None,
                 beta=0.05, epochs=2, epsilon=0.2, lam=0.95, max_new_tokens=32,
                 **more):  # fmt: skip
        super().__init__(model, tokenizer, train, held_out, *args, **more)
        self.reward, self.reference, self.gold = reward, reference, gold
        self.beta, self.epochs, self.epsilon, self.lam = beta, epochs, epsilon, lam
        self.max_new_tokens, self.history = max_new_tokens, []
        self.value_head = nn.Linear(model.config.d_model, 1)
        nn.init.zeros_(self.value_head.weight)
        self.value_optimizer = optim.AdamW(self.value_head.parameters(), lr=10 * self.config.lr)

    def logps_and_values(self, batch):
        """log p of every target, and the value before it: (B, T) both."""
        hidden = self.model.hidden(batch.idx)  # (B, T, C)
        return logps_of(self.model.logits(hidden), batch.targets), self.value_head(hidden)[..., 0]

    def train_step(self):
        """Answers to new prompts, then a step of the optimizers for each epoch."""
        with evaluating(self.model):
            self.roll_out()
            for _ in range(self.epochs):
                loss = self.loss()
                self.value_optimizer.zero_grad()
                self.update(loss)
                self.value_optimizer.step()
        self.schedule.step()
        self.losses.append(loss.item())
        self.step += 1

    @mt.no_grad()
    def roll_out(self):
        """Draw answers, and give their tokens rewards and advantages."""
        rng = np.random.default_rng([self.config.seed, self.step])
        prompts = self.train(self.config.batch_size, rng)
        given = replies(
            self.model, self.tokenizer, prompts, self.max_new_tokens, 1.0, self.generator
        )
        self.batch = batch = padded(examples_of(given))
        mask = batch.targets.numpy() >= 0
        old, values = self.logps_and_values(batch)
        away = ((old - token_logps(self.reference, batch)).numpy() * mask).astype(np.float32)
        scores = self.reward(batch, given)
        rewards = -self.beta * away
        last = mask.shape[1] - 1 - mask[:, ::-1].argmax(1)
        rewards[np.arange(len(mask)), last] += scores.numpy()
        A, returns = advantages_of(rewards, values.numpy(), mask, lam=self.lam)
        self.old, self.old_values, self.mask = old, values, mt.from_numpy(mask).float()
        self.advantages, self.returns = map(mt.from_numpy, (whitened(A, mask), returns))
        row = {"reward": scores.mean().item(), "kl": float(away.sum(1).mean())}
        if self.gold:
            row["gold"] = float(np.mean([self.gold(r.text) for r in given]))
        self.history.append(row)

    def loss(self):
        logps, values = self.logps_and_values(self.batch)
        return ppo_loss(
            logps, self.old, self.advantages, values, self.old_values, self.returns, self.mask,
            self.epsilon,
        )  # fmt: skip

    def held_out_loss(self):
        """Minus the mean reward of the last steps, less what the KL costs."""
        recent = self.history[-10:]
        if not recent:
            return 0.0
        return float(np.mean([self.beta * row["kl"] - row["reward"] for row in recent]))

    def state_dict(self):
        return super().state_dict() | {
            "history": [dict(row) for row in self.history],
            "value_head": self.value_head.state_dict(),
            "value_optimizer": self.value_optimizer.state_dict(),
        }

    def load_state_dict(self, state):
        super().load_state_dict(state)
        self.history = [dict(row) for row in state["history"]]
        self.value_head.load_state_dict(state["value_head"])
        self.value_optimizer.load_state_dict(state["value_optimizer"])
