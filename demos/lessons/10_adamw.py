"""Lesson 10: what AdamW does that SGD does not."""

from _page import BLUE, INK, RED, animate, check, close, plt, save, say, show, title

import microtensor as mt
from microtensor import optim

title("10. What AdamW does that SGD does not")
say("""A valley that is steep across and almost level along: loss = ½ (0.02 x² + 2 y²). Such are
    the losses of networks: some weights matter a hundred times more than others. SGD takes steps
    as long as the gradient is. Across the valley that is far too much, along it far too
    little.""")
loss_at = lambda x, y: 0.5 * (0.02 * x**2 + 2 * y**2)


def walk(make):
    """The places that an optimizer visits in 80 steps, and the losses there."""
    p = mt.tensor([-9.0, 2.2], requires_grad=True)
    optimizer, places = make([p]), []
    for _ in range(80):
        optimizer.zero_grad()
        loss = loss_at(*p)
        loss.backward()
        places.append([*p.tolist(), loss.item()])
        optimizer.step()
    return mt.tensor(places)


sgd = walk(lambda p: optim.SGD(p, lr=0.9))
adamw = walk(lambda p: optim.AdamW(p, lr=0.5, weight_decay=0.0))
show(sgd=sgd[:4, :2], adamw=adamw[:4, :2], losses=mt.stack([sgd[-1, 2], adamw[-1, 2]]))
check("SGD jumps from wall to wall", (sgd[:6, 1] * sgd[1:7, 1] < 0).all().item())
check("AdamW ends lower", adamw[-1, 2].item() < sgd[-1, 2].item())

say("""Could SGD not take larger steps? No: beyond 2 / curvature = 2 / 2 = 1 it flies out of the
    valley. The steep direction sets the pace for all.""")
check("with lr 1.05 the loss explodes", walk(lambda p: optim.SGD(p, lr=1.05))[-1, 2].item() > 1000)

say("""Adam remembers for each weight the average of its gradients (m) and of their squares (v),
    and steps by lr · m / √v. A gradient a hundred times larger makes √v a hundred times larger
    too: what is left is the direction, and every weight walks at its own best pace. At the first
    step m / √v is ±1, so both coordinates move by lr.""")
check("lr in each direction", close(adamw[1, :2] - adamw[0, :2], mt.tensor([0.5, -0.5]), 1e-3))

say("""And the W? Weight decay pulls weights to zero. If it is added to the gradient, as in plain
    Adam, the division by √v weakens it just where gradients are large. AdamW takes it out: every
    weight shrinks by the same share, lr · decay, at every step. Two weights at 1, with noise of
    size 0.01 and 10 for gradients:""")


def decayed(optimizer):
    mt.manual_seed(0)
    step = optimizer([p := mt.ones(2, requires_grad=True)], lr=0.001, weight_decay=1.0)
    for _ in range(300):
        p.grad = (mt.randint(0, 2, (2,)) * 2.0 - 1) * mt.tensor([0.01, 10.0])
        step.step()
    return p.detach()


show(adam=decayed(optim.Adam), adamw=decayed(optim.AdamW), expected=0.999**300)
check("AdamW shrinks both alike", close(decayed(optim.AdamW), mt.full((2,), 0.999**300), 0.06))
check("Adam hardly shrinks the one with large gradients", decayed(optim.Adam)[1].item() > 0.9)

figure, (ax, curve) = plt.subplots(2, 1, figsize=(11, 8), height_ratios=[1.5, 1])
x, y = mt.linspace(-10.5, 3, 200).numpy(), mt.linspace(-3, 3, 100).numpy()
ax.contourf(x, y, loss_at(x[None], y[:, None]) ** 0.5, 14, cmap="Greys_r", alpha=0.45)
ax.plot(0, 0, "*", color=INK, ms=20)
ax.set(title="a valley, seen from above", xlim=(-10.5, 3), ylim=(-3, 3), xticks=[], yticks=[])
curve.set(xlabel="step", ylabel="loss", yscale="log", xlim=(0, 80), ylim=(3e-5, 20))
lines, data = [], []
for path, colour, name in ((sgd, RED, "SGD"), (adamw, BLUE, "AdamW")):
    x, y, loss = path.mT.numpy()
    data += [(x, y), (list(range(80)), loss)]
    lines += ax.plot(x, y, "o-", color=colour, ms=4, lw=1.8, label=name)
    lines += curve.plot(loss, color=colour)
ax.legend(loc="upper right")
frames = [[(x[: n + 1], y[: n + 1]) for x, y in data] for n in range(80)]
animate(figure, "10_adamw", frames, lines)  # the last frame stays
save(figure, "10_adamw")
