"""Lesson 12: overfitting, or learning by heart."""

import math

from _page import BLUE, GREEN, INK, RED, check, plt, save, say, show, title

import microtensor as mt
from microtensor import nn, optim

title("12. Overfitting")
say("""Fourteen measurements of a wave, each with some noise. A network with one hidden layer of
    100 neurons has 701 numbers to set: far more than it was given. It can learn every point by
    heart, noise and all. Is that learning? Only points that it has never seen can tell.""")
mt.manual_seed(3)
measured = lambda n: (x := mt.rand(n, 1) * 2 - 1, (3 * x).sin() + 0.25 * mt.randn(n, 1))
(x, y), (unseen_x, unseen_y), (many_x, many_y) = measured(14), measured(200), measured(400)
# the network is given waves of several lengths, so that it is able to bend quickly
features = lambda x: mt.cat([(x * k * math.pi).sin() for k in (0.5, 1, 2, 4, 6)], 1)


def train(x, y, decay=0.0, steps=700):
    """The network, and after each tenth step its losses on what it saw and on what it did not."""
    mt.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 100), nn.Tanh(), nn.Linear(100, 1))
    optimizer = optim.AdamW(model.parameters(), lr=0.01, weight_decay=decay)
    seen, unseen, mse = [], [], nn.functional.mse_loss
    for step in range(steps):
        loss = mse(model(features(x)), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 10 == 0:
            seen.append(loss.item())
            unseen.append(mse(model(features(unseen_x)), unseen_y).item())
    return model, seen, unseen


model, seen, unseen = train(x, y)
best = min(range(len(unseen)), key=unseen.__getitem__)
show(seen=seen[-1], unseen=unseen[-1], noise=0.25**2)
check("it has 701 numbers", sum(p.numel() for p in model.parameters()) == 701)
check("what it saw it knows better than the noise allows", seen[-1] < 0.25**2 / 2)
check("what it did not see it knows far worse", unseen[-1] > 4 * seen[-1])

say("""Look at the two losses side by side while it learns. Both fall at first: that is the wave.
    Then one goes on falling and the other turns up: that is the noise, learned by heart. The
    turning point is the moment to stop.""")
show(step=best * 10, unseen_then=unseen[best], unseen_at_the_end=unseen[-1])
check("stopping in time would have been better", unseen[best] < 0.9 * unseen[-1])

say("""Other remedies: more data, for nobody learns four hundred points by heart so easily; or
    decay, which keeps weights small and the curve calm. (Lesson 10 says how.)""")
(calm, _, calm_unseen), (more, _, more_unseen) = train(x, y, decay=10.0), train(many_x, many_y)
show(decay=calm_unseen[-1], more_data=more_unseen[-1], neither=unseen[-1])
check("decay helps, more data even more", more_unseen[-1] < calm_unseen[-1] < unseen[-1])

figure, axes = plt.subplots(1, 3, figsize=(17, 5.8), width_ratios=[1.2, 1, 1.2])
line = mt.linspace(-1, 1, 400)[:, None]
for ax, name, shown in ((axes[0], "learned by heart", {"14 points": (model, RED)}),
    (axes[2], "two remedies", {"decay": (calm, BLUE), "400 points": (more, GREEN)})):  # fmt: skip
    ax.plot(line.numpy(), (3 * line).sin().numpy(), "--", color=INK, lw=1.5, label="the wave")
    ax.plot(x.numpy(), y.numpy(), "o", color=INK, ms=9)
    for label, (network, colour) in shown.items():
        ax.plot(line.numpy(), network(features(line)).detach().numpy(), color=colour, label=label)
    ax.set(title=name, xlabel="x", ylim=(-2.2, 2.2))
    ax.legend(loc="upper left")
steps = range(0, 700, 10)
for losses, colour, label in ((seen, BLUE, "seen"), (unseen, RED, "never seen")):
    axes[1].semilogy(steps, losses, color=colour, label=label)
axes[1].axvline(best * 10, color=INK, ls=":", lw=1.5)
axes[1].text(best * 10 + 14, 0.45, "stop here")
axes[1].set(title="loss while it learns", xlabel="step")
axes[1].legend(loc="lower left")
save(figure, "12_overfitting")
