"""Lesson 2: softmax, from scores to probabilities."""

import math

from _page import BLUE, GOLD, RED, check, close, grid, plt, save, say, show, title

import microtensor as mt

title("2. Softmax")
say("""A network that has to choose gives each choice a score: any number, negative ones too. We
    want probabilities: positive, adding up to 1. Softmax makes every score positive with eˣ, and
    divides by the sum.""")
choices = ["cat", "dog", "bird"]
scores = mt.tensor([2.0, 1.0, -0.5])
exponentials = scores.exp()
p = exponentials / exponentials.sum()
show(scores=scores, exponentials=exponentials, probabilities=p)
check("they add up to 1", close(p.sum(), 1))
check("mt.softmax says the same", close(p, scores.softmax(-1)))

say("""Only differences count: one point more multiplies a choice's odds by e = 2.718…, wherever
    it starts from. Add 100 to every score, and nothing changes.""")
show(odds=(p[0] / p[1]).item())
check("one point ahead: odds of e to 1", close(p[0] / p[1], math.e))
check("adding 100 to all changes nothing", close((scores + 100).softmax(-1), p))

say("""That is more than a curiosity. e¹⁰⁰⁰ is too large for any float, and ∞ / ∞ is NaN. So
    softmax takes the largest score away first, and the largest number that it meets is e⁰ =
    1.""")
large = mt.tensor([1000.0, 999.0, 997.5])
naive = large.exp() / large.exp().sum()
show(naive=naive, softmax=large.softmax(-1))
check("the naive way fails", naive.isnan().any().item())
check("the shifted way gives what it gave before", close(large.softmax(-1), p))

say("""Divide the scores by a temperature first: a low one makes the choice sharper (at 0 it is
    argmax), a high one makes all choices alike. Language models are sampled in this way.""")
temperatures = (0.4, 1.0, 3.0)
warm = [(scores / t).softmax(-1) for t in temperatures]
show(**{f"T_{t}": w for t, w in zip(temperatures, warm)})
check("colder is surer", warm[0].max().item() > warm[1].max().item() > warm[2].max().item())

say("""And its derivative? The probabilities share one cake: when one grows all the others must
    shrink. Raise score j by a little, and probability i changes by pᵢ (δᵢⱼ − pⱼ). All of these
    numbers together are the Jacobian; every column adds up to zero.""")
x = scores.clone().requires_grad_()
rows = [mt.autograd.grad(x.softmax(-1)[i], x)[0] for i in range(3)]
jacobian = mt.stack(rows)
show(jacobian=jacobian)
check("pᵢ (δᵢⱼ − pⱼ)", close(jacobian, mt.eye(3) * p - mt.outer(p, p)))
check("what one gains the others lose", close(jacobian.sum(0), mt.zeros(3)))

figure, axes = plt.subplots(1, 3, figsize=(15, 5.6), width_ratios=[1, 1.4, 1])
axes[0].bar(choices, scores.tolist(), color=GOLD)
axes[0].axhline(0, color="black", lw=1)
axes[0].set(title="scores", ylim=(-1, 2.4))
for k, (t, w, colour) in enumerate(zip(temperatures, warm, ("#123f73", BLUE, "#9fc0e6"))):
    places = [i + (k - 1) * 0.27 for i in range(3)]
    axes[1].bar(places, w.tolist(), 0.25, color=colour, label=f"temperature {t:g}")
    for x0, y0 in zip(places, w.tolist()):
        axes[1].text(x0, y0 + 0.01, f"{y0:.2f}", ha="center", size=11)
axes[1].set_xticks(range(3), choices)
axes[1].set(title="softmax(scores / temperature)", ylim=(0, 1.05))
axes[1].legend()
grid(axes[2], jacobian, "if this score rises …", choices, choices)
axes[2].set_xlabel("score of")
axes[2].set_ylabel("… this probability changes by", color=RED)
save(figure, "02_softmax")
