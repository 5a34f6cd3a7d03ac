"""The losses of post-training and their gradients, beside plain PyTorch formulations."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="parity is with PyTorch")

import microtensor as mt  # noqa: E402
from models.post_training import dpo, grpo, ppo, reward_model, sft  # noqa: E402
from models.post_training.conversations import Batch  # noqa: E402
from models.post_training.replies import logps_of  # noqa: E402

B, T, V = 6, 7, 11
seeds = pytest.mark.parametrize("seed", range(3))


def drawn(seed, *shapes):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=shape) for shape in shapes]


def masks(seed):
    """Answers side by side in rows: (B, T) bools, each with one token at least."""
    rng = np.random.default_rng(seed)
    starts = rng.integers(0, T - 1, B)
    ends = starts + 1 + np.array([rng.integers(0, T - s) for s in starts])
    places = np.arange(T)
    return (places >= starts[:, None]) & (places < ends[:, None])


def compare(ours, theirs, *arrays):
    """Values and gradients of two functions of (tensors …) agree in float64."""
    found = []
    for library, function in ((mt, ours), (torch, theirs)):
        tensors = [library.tensor(a, requires_grad=True) for a in arrays]
        value = function(*tensors)
        value.sum().backward()
        found.append([value.detach().numpy(), *(t.grad.numpy() for t in tensors)])
    for a, b in zip(*found):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)
    assert any(np.abs(g).max() > 0 for g in found[0][1:])


@seeds
def test_sft(seed):
    """The mean negative log-probability of the targets that are not ignored."""
    (logits,) = drawn(seed, (B, T, V))
    targets = np.where(masks(seed), np.random.default_rng(seed).integers(0, V, (B, T)), -100)

    class Table:
        def __call__(self, idx, targets):
            return None, mt.nn.functional.cross_entropy(
                self.logits.flatten(0, 1), targets.flatten()
            )

    def ours(logits):
        model = Table()
        model.logits = logits
        return sft.sft_loss(model, Batch(None, mt.tensor(targets)))

    def theirs(logits):
        chosen = torch.tensor(targets) >= 0
        logps = logits.log_softmax(-1)[chosen]
        return -logps.gather(1, torch.tensor(targets)[chosen][:, None]).mean()

    compare(ours, theirs, logits)


@seeds
def test_log_probabilities(seed):
    (logits,) = drawn(seed, (B, T, V))
    mask = masks(seed)
    targets = np.random.default_rng(seed).integers(0, V, (B, T))

    def theirs(logits):
        logps = logits.log_softmax(-1).gather(-1, torch.tensor(targets)[..., None])[..., 0]
        return torch.where(torch.tensor(mask), logps, torch.zeros_like(logps))

    compare(lambda x: logps_of(x, mt.tensor(np.where(mask, targets, -100))), theirs, logits)


@seeds
@pytest.mark.parametrize("beta", [0.1, 0.5])
def test_dpo(seed, beta):
    def theirs(chosen, rejected, reference_chosen, reference_rejected):
        policy = beta * (chosen - rejected)
        return -torch.log(torch.sigmoid(policy - beta * (reference_chosen - reference_rejected)))

    compare(lambda *x: dpo.dpo_loss(*x, beta=beta), theirs, *drawn(seed, *[(B,)] * 4))


@seeds
def test_bradley_terry(seed):
    def theirs(chosen, rejected):
        return -(chosen.exp() / (chosen.exp() + rejected.exp())).log()

    compare(reward_model.bradley_terry_loss, theirs, *drawn(seed, (B,), (B,)))


@seeds
@pytest.mark.parametrize("beta", [0.0, 0.04])
def test_grpo(seed, beta):
    old, reference, advantages = drawn(seed, (B, T), (B, T), (B,))
    new = old + drawn(seed + 9, (B, T))[0] * 0.3
    mask = masks(seed).astype(float)

    def ours(logps):
        a, b, c, d = map(mt.tensor, (old, advantages, mask, reference))
        return grpo.grpo_loss(logps, a, b, c, d, epsilon=0.2, beta=beta)

    def theirs(logps):
        a, b, c, d = map(torch.tensor, (old, advantages, mask, reference))
        ratio = torch.exp(logps - a)
        one, two = ratio * b[:, None], torch.clamp(ratio, 0.8, 1.2) * b[:, None]
        kl = torch.exp(d - logps) - (d - logps) - 1
        return ((-torch.min(one, two) + beta * kl) * c).sum() / c.sum()

    compare(ours, theirs, new)


@seeds
def test_group_advantages(seed):
    def theirs(rewards):
        return (rewards - rewards.mean(1, keepdim=True)) / (rewards.std(1, keepdim=True) + 1e-4)

    compare(grpo.group_advantages, theirs, *drawn(seed, (3, 8)))


@seeds
def test_generalised_advantages_are_the_sums_of_their_definition(seed):
    rewards, values = drawn(seed, (B, T), (B, T))
    mask, gamma, lam = masks(seed), 0.9, 0.8
    A, returns = ppo.advantages_of(rewards, values, mask, gamma, lam)
    for row in range(B):
        (places,) = np.nonzero(mask[row])
        V_ = [*values[row, places], 0.0]
        deltas = [rewards[row, t] + gamma * V_[i + 1] - V_[i] for i, t in enumerate(places)]
        for i, t in enumerate(places):
            wanted = sum((gamma * lam) ** k * d for k, d in enumerate(deltas[i:]))
            assert A[row, t] == pytest.approx(wanted)
            assert returns[row, t] == pytest.approx(wanted + values[row, t])
    assert (A[~mask] == 0).all() and (returns[~mask] == 0).all()


def test_whitened():
    (A,) = drawn(0, (B, T))
    mask = masks(0)
    white = ppo.whitened(A, mask)
    assert white[mask].mean() == pytest.approx(0, abs=1e-12)
    assert white[mask].std() == pytest.approx(1, rel=1e-6) and (white[~mask] == 0).all()


@seeds
def test_ppo(seed):
    old, advantages, old_values, returns = drawn(seed, *[(B, T)] * 4)
    noise = drawn(seed + 9, (B, T), (B, T))
    mask = masks(seed).astype(float)
    rest = old, advantages, old_values, returns, mask

    def ours(logps, values):
        a, b, c, d, m = map(mt.tensor, rest)
        return ppo.ppo_loss(logps, a, b, values, c, d, m, 0.2, 0.2, 0.1)

    def theirs(logps, values):
        a, b, c, d, m = map(torch.tensor, rest)
        mean = lambda x: (x * m).sum() / m.sum()
        ratio = torch.exp(logps - a)
        policy = mean(torch.max(-b * ratio, -b * torch.clamp(ratio, 0.8, 1.2)))
        clipped = torch.clamp(values, c - 0.2, c + 0.2)
        value = 0.5 * mean(torch.max((values - d) ** 2, (clipped - d) ** 2))
        return policy + 0.1 * value

    compare(ours, theirs, old + 0.3 * noise[0], old_values + 0.3 * noise[1])
