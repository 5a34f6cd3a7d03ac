"""Tables and clouds of points: k-means, t-SNE, principal axes, Gaussian processes, a network with
embeddings for categories, weighted samples, early stopping, and derivatives of derivatives."""

import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset, TensorDataset, WeightedRandomSampler


def kmeans(x, k, steps=5):
    centers = x[:k].clone()
    for _ in range(steps):
        labels = torch.cdist(x, centers).argmin(dim=1)
        for j in range(k):
            if (labels == j).any():
                centers[j] = x[labels == j].mean(dim=0)
    counts = torch.bincount(labels, minlength=k)
    sums = torch.zeros_like(centers).index_add_(0, labels, x)
    assert torch.allclose(sums / counts.unsqueeze(1).clamp(min=1), centers) or steps < 9
    return centers.flatten().tolist() + counts.tolist()


def tsne(x, rng):
    d2 = torch.cdist(x, x).pow(2)
    p = torch.softmax(-d2.masked_fill(torch.eye(len(x), dtype=torch.bool), float("inf")), dim=1)
    p = ((p + p.T) / (2 * len(x))).clamp_min(1e-12)
    y = torch.tensor(rng.normal(0, 0.1, (len(x), 2)), requires_grad=True)
    optimizer = torch.optim.SGD([y], lr=1.0, momentum=0.5)
    for _ in range(5):
        q = 1 / (1 + (y[:, None] - y[None]).square().sum(-1))
        q = q * (1 - torch.eye(len(x), dtype=q.dtype))
        q = (q / q.sum()).clamp(min=1e-12)
        loss = (p * (p.log() - q.log())).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return [loss.item(), y.norm().item()]


def axes(x):
    centered = x - x.mean(0)
    U, S, Vh = torch.linalg.svd(centered, full_matrices=False)
    values, vectors = torch.linalg.eigh(centered.T @ centered)
    assert torch.allclose(values.flip(0).sqrt(), S)
    standard = (x - x.mean(0)) / x.std(0)
    ranks = standard.argsort(dim=0).argsort(dim=0)
    q = torch.quantile(x, torch.tensor([0.25, 0.5, 0.75], dtype=x.dtype), dim=0)
    return S.tolist() + q.flatten().tolist() + ranks[:4].flatten().tolist()


def gaussian_process(x, y):
    length = torch.tensor(0.7, dtype=x.dtype, requires_grad=True)
    optimizer = torch.optim.Adam([length], lr=0.05)
    for _ in range(4):
        k = torch.exp(-torch.cdist(x, x).square() / (2 * length**2))
        k = k + 0.1 * torch.eye(len(x), dtype=x.dtype)
        L = torch.linalg.cholesky(k)
        alpha = torch.linalg.solve(k, y.unsqueeze(1))
        loss = 0.5 * (y @ alpha).squeeze() + L.diagonal().log().sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return [loss.item(), length.item()]


class Table(Dataset):
    def __init__(self, categories, values, target):
        self.categories, self.values, self.target = categories, values, target

    def __len__(self):
        return len(self.target)

    def __getitem__(self, i):
        return {"cat": self.categories[i], "num": self.values[i], "y": self.target[i]}


class TabularNet(nn.Module):
    def __init__(self, sizes, n_cont):
        super().__init__()
        self.embeds = nn.ModuleList([nn.Embedding(n, min(4, (n + 1) // 2)) for n in sizes])
        n_emb = sum(e.embedding_dim for e in self.embeds)
        self.bn1 = nn.BatchNorm1d(n_cont)
        self.layers = nn.Sequential(
            nn.Linear(n_emb + n_cont, 8), nn.ReLU(inplace=True), nn.BatchNorm1d(8), nn.Dropout(0.0),
            nn.Linear(8, 1), nn.Sigmoid(),
        )  # fmt: skip

    def forward(self, x_cat, x_cont):
        x = torch.cat([e(x_cat[:, i]) for i, e in enumerate(self.embeds)], 1)
        return self.layers(torch.cat([x, self.bn1(x_cont)], 1)).squeeze(-1)


def table(rng):
    cats = np.stack([rng.integers(0, 3, 40), rng.integers(0, 7, 40)], 1)
    nums = rng.normal(size=(40, 3)).astype(np.float64)
    dtype = torch.get_default_dtype()
    target = torch.from_numpy((nums.sum(1) > 0).astype("float64")).to(dtype)
    data = Table(torch.as_tensor(cats), torch.as_tensor(nums, dtype=dtype), target)
    model = TabularNet([3, 7], 3)
    for p in model.parameters():
        p.data.copy_(torch.from_numpy(rng.normal(0, 0.5, tuple(p.shape))))
    optimizer = torch.optim.Adagrad(model.parameters(), lr=0.1)
    loss_fn = nn.BCELoss()
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=0)
    best, numbers, best_state = float("inf"), [], None
    for _epoch in range(4):
        model.train()
        for batch in DataLoader(data, batch_size=10):
            out = model(batch["cat"], batch["num"])
            loss = loss_fn(out, batch["y"]) + 1e-3 * sum(p.abs().sum() for p in model.parameters())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        model.eval()
        with torch.inference_mode():
            out = model(data.categories, data.values)
            valid = nn.functional.binary_cross_entropy(out, target).item()
            accuracy = ((out > 0.5) == target.bool()).float().mean().item()
        scheduler.step(valid)
        if valid < best:
            best = valid
            best_state = {k: v.clone() for k, v in model.state_dict().items()}
        numbers += [loss.item(), valid, accuracy]
    model.load_state_dict(best_state)
    counts = torch.bincount(target.long())
    weights = 1.0 / counts[target.long()].double()
    sampler = WeightedRandomSampler(weights, num_samples=400, replacement=True)
    drawn = torch.tensor([data[i]["y"].item() for i in sampler])
    assert 0.35 < drawn.mean() < 0.65 and len(sampler) == 400
    loader = DataLoader(TensorDataset(data.values, target), batch_size=16, sampler=sampler)
    assert sum(len(y) for _, y in loader) == 400
    return numbers + [best]


def derivatives(rng):
    """A network that is held to a differential equation, and one with a penalty on its slope."""
    net = nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Linear(8, 1))
    for p in net.parameters():
        p.data = torch.from_numpy(rng.normal(0, 0.5, tuple(p.shape)))
    t = torch.linspace(0, 1, 9, dtype=torch.float64).reshape(-1, 1).requires_grad_(True)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.02)
    for _ in range(4):
        u = net(t)
        du = torch.autograd.grad(u, t, torch.ones_like(u), create_graph=True)[0]
        ddu = torch.autograd.grad(du.sum(), t, create_graph=True, retain_graph=True)[0]
        loss = (ddu + u).pow(2).mean() + (u[0] - 1).square().sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    x = torch.tensor(rng.normal(size=(5, 1)), requires_grad=True)
    (slope,) = torch.autograd.grad(net(x).sum(), x, create_graph=True)
    penalty = ((slope.norm(2, dim=1) - 1) ** 2).mean()
    penalty.backward()
    J = torch.autograd.functional.jacobian(
        lambda v: net(v.view(-1, 1)).flatten(), x.detach()[:2, 0]
    )
    H = torch.autograd.functional.hessian(lambda v: net(v.view(-1, 1)).sum(), x.detach()[:2, 0])
    grads = [p.grad.norm().item() for p in net.parameters() if p.grad is not None]
    return [loss.item(), penalty.item(), *J.flatten().tolist(), *H.flatten().tolist(), *grads]


def run(rng):
    torch.manual_seed(0)
    x = torch.tensor(rng.normal(size=(24, 3)) + rng.integers(0, 2, (24, 1)) * 3)
    y = torch.sin(x.sum(1))
    numbers = kmeans(x, 3) + tsne(x, rng) + axes(x) + gaussian_process(x, y)
    return numbers + table(rng) + derivatives(rng)
