"""A policy by gradients of rewards, and a variational model with a distribution's divergence."""

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.distributions import Bernoulli, Categorical, Normal, kl_divergence


class Policy(nn.Module):
    def __init__(self):
        super().__init__()
        self.affine, self.action_head, self.value_head = (
            nn.Linear(4, 16), nn.Linear(16, 2), nn.Linear(16, 1)
        )  # fmt: skip
        self.saved = []

    def forward(self, x):
        x = F.relu(self.affine(x))
        return F.softmax(self.action_head(x), dim=-1), self.value_head(x)


def settle(model, rng):
    for p in model.parameters():
        p.data.copy_(torch.from_numpy(rng.normal(0, 0.4, tuple(p.shape))))
    return model


def actor_critic(rng):
    model = settle(Policy(), rng)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-2)
    numbers = []
    for _episode in range(3):
        rewards, returns, R = [], [], 0
        for _ in range(8):
            state = torch.from_numpy(rng.normal(size=4).astype("float32")).to(
                torch.get_default_dtype()
            )
            probs, value = model(state)
            m = Categorical(probs)
            assert m.sample().item() in (0, 1)
            action = torch.tensor(int(rng.integers(0, 2)))  # the same in every library
            model.saved.append((m.log_prob(action), value, m.entropy()))
            rewards.append(float(action.item() == (state[0] > 0)))
        for r in rewards[::-1]:
            R = r + 0.99 * R
            returns.insert(0, R)
        returns = torch.tensor(returns)
        returns = (returns - returns.mean()) / (returns.std() + 1e-8)
        policy, values = [], []
        for (log_prob, value, _), R in zip(model.saved, returns):
            advantage = R - value.item()
            policy.append(-log_prob * advantage)
            values.append(F.smooth_l1_loss(value, torch.tensor([R])))
        loss = torch.stack(policy).sum() + torch.stack(values).sum()
        loss = loss - 0.01 * torch.stack([e for *_, e in model.saved]).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        del model.saved[:]
        numbers.append(loss.item())
    return numbers


def variational(rng):
    x = torch.from_numpy((rng.random((6, 9)) > 0.5).astype("float64"))
    encoder, decoder = settle(nn.Linear(9, 4), rng).double(), settle(nn.Linear(2, 9), rng).double()
    optimizer = torch.optim.SGD([*encoder.parameters(), *decoder.parameters()], lr=0.05)
    numbers = []
    for _ in range(3):
        loc, raw = encoder(x).chunk(2, dim=-1)
        posterior = Normal(loc, F.softplus(raw) + 1e-3)
        assert posterior.rsample().requires_grad and not posterior.sample().requires_grad
        z = posterior.loc + posterior.scale * torch.from_numpy(rng.normal(size=(6, 2)))
        likelihood = Bernoulli(logits=decoder(z))
        prior = Normal(torch.zeros_like(loc), torch.ones_like(loc))
        kl = kl_divergence(posterior, prior).sum(-1)
        loss = (kl - likelihood.log_prob(x).sum(-1)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        numbers += [loss.item(), kl.mean().item(), likelihood.probs.mean().item()]
    return numbers


def run(rng):
    torch.manual_seed(543)
    return actor_critic(rng) + variational(rng)
