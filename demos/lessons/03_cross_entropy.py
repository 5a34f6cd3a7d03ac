"""Lesson 3: cross-entropy, the price of being surprised."""

import math

from _page import BLUE, GREEN, PALE, RED, check, close, plt, save, say, show, title

import microtensor as mt
from microtensor.nn import functional as F

title("3. Cross-entropy")
say("""A weather forecaster says: rain with probability p. Then it rains. What should that cost
    her? Nothing if p was 1, and more the less she believed in it. The price is −ln p: the
    surprise.""")
p = mt.tensor([1.0, 0.9, 0.5, 0.1, 0.01])
show(p=p, surprise=-p.log())
check("certain and right costs nothing", close(-p[0].log(), 0))

say("""Why a logarithm? Because probabilities of independent events are multiplied, and prices
    are added: ln turns one into the other. Two days of rain, forecast with 0.5 and 0.1:""")
show(together=-(p[2] * p[3]).log(), one_by_one=-p[2].log() - p[3].log())
check("the price of both is the sum of the prices", close(-(p[2] * p[3]).log(),
      -p[2].log() - p[3].log()))  # fmt: skip

say("""A network gives scores, softmax makes them probabilities, and the cross-entropy is the
    price of the class that came true. Averaged over examples it is the loss of every language
    model. Three letters, the true one is b:""")
letters, target = ["a", "b", "c"], mt.tensor([1])
scores = mt.tensor([[2.0, 1.0, -1.0]], requires_grad=True)
probabilities = scores.softmax(-1)
loss = F.cross_entropy(scores, target)
show(probabilities=probabilities.detach(), loss=loss.item())
check("the loss is −ln of b's probability", close(loss, -probabilities[0, 1].log()))

say("""Whoever knows nothing gives each of n classes 1/n, and pays ln n. An untrained model of 65
    letters must therefore begin at ln 65 = 4.17: a good test of new code.""")
check("65 equal scores cost ln 65", close(F.cross_entropy(mt.zeros(1, 65), target), math.log(65)))

say("""And the gradient is the simplest that there could be: what you believed minus what was
    true. Every wrong letter is pushed down by the probability that it had; the right one is
    pulled up by what it lacked to 1.""")
loss.backward()
truth = mt.tensor([[0.0, 1.0, 0.0]])
show(believed=probabilities.detach(), true=truth, gradient=scores.grad)
check("gradient = softmax − one-hot", close(scores.grad, probabilities.detach() - truth))
check("the pushes and the pull balance", close(scores.grad.sum(), 0))

figure, (left, right) = plt.subplots(1, 2, figsize=(14, 6.2))
line = mt.linspace(0.005, 1, 300)
left.plot(line.numpy(), (-line.log()).numpy(), color=BLUE)
for x in (0.01, 0.1, 0.5, 0.9):
    y = -math.log(x)
    left.plot(x, y, "o", color=RED, ms=10)
    left.annotate(f"{x:g} costs {y:.2f}", (x, y), (14, 4), textcoords="offset points")
left.set(title="the price of what came true", xlabel="probability that it was given")
left.set(ylabel="−ln p", ylim=(-0.1, 5.4), xlim=(0, 1.2), xticks=[0, 0.25, 0.5, 0.75, 1])

places = range(3)
right.bar([i - 0.2 for i in places], probabilities[0].tolist(), 0.38, color=BLUE, label="believed")
right.bar([i + 0.2 for i in places], truth[0].tolist(), 0.38, color=PALE, label="true")
for i, (b, g) in enumerate(zip(probabilities[0].tolist(), scores.grad[0].tolist())):
    colour = GREEN if g < 0 else RED
    right.annotate("", (i - 0.2, b - g), (i - 0.2, b),
                   arrowprops={"arrowstyle": "-|>", "color": colour, "lw": 3})  # fmt: skip
    right.text(i - 0.2, max(b, b - g) + 0.03, f"gradient {g:+.2f}".replace("-", "−"),
               color=colour, ha="center")  # fmt: skip
right.set_xticks(places, letters)
right.set(title="gradient = believed − true", ylim=(-0.02, 1.25), xlim=(-0.75, 2.7))
right.legend(loc="upper right")
save(figure, "03_cross_entropy")
