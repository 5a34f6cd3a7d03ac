"""Checks such as the author of a scalar autograd engine writes to compare it with PyTorch."""

import math

import torch


def sanity():
    x = torch.Tensor([-4.0]).double()
    x.requires_grad = True
    z = 2 * x + 2 + x
    q = z.relu() + z * x
    h = (z * z).relu()
    y = h + q + q * x
    y.backward()
    return [y.data.item(), x.grad.item()]


def more():
    a = torch.Tensor([-4.0]).double()
    b = torch.Tensor([2.0]).double()
    a.requires_grad = b.requires_grad = True
    c = a + b
    d = a * b + b**3
    c += c + 1
    c = c + 1 + c + (-a)
    d = d + d * 2 + (b + a).relu()
    d = d + 3 * d + (b - a).relu()
    e = c - d
    f = e**2
    g = f / 2.0
    g = g + 10.0 / f
    g.backward()
    return [g.data.item(), a.grad.item(), b.grad.item()]


def neuron():
    x1, x2 = (torch.tensor([v], dtype=torch.float64, requires_grad=True) for v in (2.0, 0.0))
    w1 = torch.tensor([-3.0]).double()
    w1.requires_grad_()
    w2 = torch.tensor([1.0]).double().requires_grad_(True)
    n = x1 * w1 + x2 * w2 + math.log(3)
    o = torch.tanh(n)
    o.backward()
    return [o.item()] + [v.grad.item() for v in (x1, w1, x2, w2)]


def linear_regression(rng):
    X = torch.tensor(rng.normal(size=(64, 2)))
    y = X @ torch.tensor([2.0, -3.4]).to(X.dtype).reshape(-1, 1) + 4.2
    w = torch.zeros(2, 1, requires_grad=True, dtype=X.dtype)
    b = torch.zeros(1, requires_grad=True, dtype=X.dtype)
    for _epoch in range(20):
        for i in range(0, len(X), 16):
            indices = torch.arange(i, min(i + 16, len(X)))
            loss = ((torch.mm(X[indices], w) + b - y[indices].reshape(-1, 1)) ** 2 / 2).mean()
            loss.backward()
            with torch.no_grad():
                for p in (w, b):
                    p -= 0.1 * p.grad
                    p.grad.zero_()
    return [loss.item(), *w.flatten().tolist(), float(b)]


def polynomial():
    x = torch.linspace(-math.pi, math.pi, 200, dtype=torch.double)
    y = torch.sin(x)
    p = torch.tensor([1, 2, 3])
    xx = x.unsqueeze(-1).pow(p)
    model = torch.nn.Sequential(torch.nn.Linear(3, 1), torch.nn.Flatten(0, 1)).double()
    with torch.no_grad():
        model[0].weight.fill_(0.1)
        model[0].bias.zero_()
    loss_fn = torch.nn.MSELoss(reduction="sum")
    optimizer = torch.optim.RMSprop(model.parameters(), lr=1e-3)
    for _ in range(50):
        loss = loss_fn(model(xx), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return [loss.item(), model[0].bias.item()] + model[0].weight[:, 0].tolist()


class Legendre(torch.autograd.Function):
    """P₃(x) = (5x³ − 3x) / 2, with its derivative by hand."""

    @staticmethod
    def forward(ctx, input):
        ctx.save_for_backward(input)
        return 0.5 * (5 * input**3 - 3 * input)

    @staticmethod
    def backward(ctx, grad_output):
        (input,) = ctx.saved_tensors
        return grad_output * 1.5 * (5 * input**2 - 1)


class Scaled(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, factor, note=None):
        ctx.factor = factor
        ctx.save_for_backward(x, weight)
        return x * weight * factor, x.sum()

    @staticmethod
    def backward(ctx, g, g_sum):
        x, weight = ctx.saved_tensors
        gx = gw = None
        if ctx.needs_input_grad[0]:
            gx = g * weight * ctx.factor + g_sum
        if ctx.needs_input_grad[1]:
            gw = (g * x * ctx.factor).sum(0)
        return gx, gw, None, None


def by_hand(rng):
    x = torch.from_numpy(rng.normal(size=(4, 3))).requires_grad_()
    w = torch.from_numpy(rng.normal(size=3)).requires_grad_()
    P3 = Legendre.apply
    y = P3(x).tanh().sum()
    a, s = Scaled.apply(x, w, 0.5)
    (y + a.pow(2).sum() + s).backward()
    ok = torch.autograd.gradcheck(P3, (x,))
    return [y.item(), *x.grad.flatten().tolist(), *w.grad.tolist(), float(ok)]


def run(rng):
    return sanity() + more() + neuron() + linear_regression(rng) + polynomial() + by_hand(rng)
