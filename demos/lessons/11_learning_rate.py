"""Lesson 11: a learning rate that is too high, and one that is too low."""

from _page import BLUE, GREEN, INK, RED, check, close, plt, save, say, show, title

import microtensor as mt
from microtensor import nn, optim

title("11. The learning rate")
say("""A step of training goes downhill: w ← w − lr · gradient. The gradient says which way. It
    does not say how far, for it knows the slope only where it stands. Take a bowl, loss = w²,
    and let go at w = 2. The gradient is 2w, so a step multiplies w by 1 − 2 lr.""")


def roll(lr, steps=12):
    w = mt.tensor(2.0, requires_grad=True)
    optimizer, path = optim.SGD([w], lr=lr), [w.item()]
    for _ in range(steps):
        optimizer.zero_grad()
        (w**2).backward()
        optimizer.step()
        path.append(w.item())
    return mt.tensor(path)


rates = {"too low": 0.02, "good": 0.3, "too high": 1.05}
paths = {name: roll(lr) for name, lr in rates.items()}
for name, lr in rates.items():
    print(f"\n  {name}, lr = {lr}: every step multiplies w by {1 - 2 * lr:.2f}")
    show(w=paths[name][:6])
    check("as predicted", close(paths[name][5], 2 * (1 - 2 * lr) ** 5))
say("""Below lr = ½ it rolls to the bottom, between ½ and 1 it jumps from side to side and still
    gets there; at 1 it jumps for ever, and above it flies away. In general the limit is 2 /
    curvature, and here the curvature is 2. The best rate would be one half: there in one
    step.""")
check("lr = ½ needs one step", abs(roll(0.5)[1].item()) < 1e-6)
check("lr = 1 never arrives", abs(roll(1.0)[-1].item()) == 2)

say("""A network has no single curvature, so one tries rates, each ten times the last. A network
    with 32 hidden neurons learns which points lie in a ring, in 150 steps.""")
mt.manual_seed(1)
points = mt.randn(256, 2)
inside = (((points**2).sum(1, keepdim=True) - 1).abs() < 0.6).float()


def train(lr, steps=150):
    mt.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 1))
    optimizer, losses = optim.SGD(model.parameters(), lr=lr, momentum=0.9), []
    for _ in range(steps):
        loss = nn.functional.binary_cross_entropy_with_logits(model(points), inside)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


curves = {lr: train(lr) for lr in (0.03, 0.3, 3.0, 30.0)}
ends = {lr: sum(losses[-20:]) / 20 for lr, losses in curves.items()}
show(**{f"lr_{lr:g}": end for lr, end in ends.items()})
best = min(ends, key=ends.get)
check("neither the lowest nor the highest is best", best not in (0.03, 30.0))
check("ten times too high is worse than ten times too low", ends[best * 10] > ends[best / 10])

figure, axes = plt.subplots(1, 4, figsize=(18, 5.4), width_ratios=[1, 1, 1, 1.7])
bowl = mt.linspace(-4, 4, 200)
for ax, (name, path), colour in zip(axes, paths.items(), (BLUE, GREEN, RED)):
    ax.plot(bowl.numpy(), (bowl**2).numpy(), color="#c3c9d1", zorder=0)
    ax.plot(path.numpy(), (path**2).numpy(), "o-", color=colour, ms=7, lw=1.5)
    ax.plot(path[0].item(), path[0].item() ** 2, "o", color=INK, ms=11)
    ax.set(title=f"{name}: {rates[name]:g}", xlabel="w", ylim=(-0.6, 16), xlim=(-4, 4))
axes[0].set_ylabel("loss")
shades = plt.get_cmap("plasma")(mt.linspace(0.05, 0.85, len(curves)).numpy())
for (lr, losses), shade in zip(curves.items(), shades):
    axes[3].plot([min(x, 2) for x in losses], color=shade, label=f"{lr:g}", lw=2)
axes[3].set(title="a network", xlabel="step", ylim=(0, 1.3))
axes[3].legend(title="learning rate", ncols=2)
save(figure, "11_learning_rate")
