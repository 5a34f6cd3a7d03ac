"""Lesson 4: gradients by hand and by machine."""

import math

from _page import BLUE, INK, RED, check, close, graph, plt, save, say, show, title

import microtensor as mt

title("4. Gradients by hand and by machine")
say("""A gradient answers one question: if I raise this number by a little, how much does the
    result rise? Take y = tanh(a·b + c), the smallest neuron that there is.""")
a, b, c = (mt.tensor(v, dtype=mt.float64, requires_grad=True) for v in (2.0, 0.5, -0.4))
product = a * b
total = product + c
y = total.tanh()
show(a=a.item(), b=b.item(), c=c.item(), product=product.item(), total=total.item(), y=y.item())

say("""By hand. Begin at the end, and ask each step for its own slope only. tanh has the slope 1
    − y². A sum has the slope 1 for both of its parts. A product has, for each factor, the other
    factor as its slope. The chain rule multiplies the slopes along the way back:""")
d_total = 1 - y.item() ** 2
d_product, d_c = d_total * 1, d_total * 1
d_a, d_b = d_product * b.item(), d_product * a.item()
show(d_total=d_total, d_product=d_product, d_c=d_c, d_a=d_a, d_b=d_b)

say("""By machine. While the values were computed, every operation left a note: who my inputs
    were, and how a gradient of my result becomes a gradient of each of them. backward() reads
    the notes from the last to the first. There is no more to it than what you have just
    done.""")
y.backward()
show(a_grad=a.grad.item(), b_grad=b.grad.item(), c_grad=c.grad.item())
check("machine and hand agree", close(a.grad, d_a) and close(b.grad, d_b) and close(c.grad, d_c))

say("""By measuring. Nobody needs to believe either of us: move a by a hair to both sides, look
    how much y moved, and divide. It costs two runs for every number. A GPT has a million
    numbers; backward() gets all of their gradients for the price of a few runs.""")
h = 1e-5


def f(**changed):
    v = {"a": 2.0, "b": 0.5, "c": -0.4} | changed
    return math.tanh(v["a"] * v["b"] + v["c"])


at = {"a": 2.0, "b": 0.5, "c": -0.4}
measured = [(f(**{n: v + h}) - f(**{n: v - h})) / (2 * h) for n, v in at.items()]
show(measured=mt.tensor(measured))
check("measured and computed agree to 8 digits",
      all(abs(m - t.grad.item()) < 1e-8 for m, t in zip(measured, (a, b, c))))  # fmt: skip

figure, axes = plt.subplot_mosaic([["g", "g", "g"], ["a", "b", "c"]], figsize=(15, 9),
                                  height_ratios=[1.15, 1])  # fmt: skip
a, b, c = (mt.tensor(v, requires_grad=True) for v in at.values())
result = (a * b + c).tanh()
graph(axes["g"], result, {"a": a, "b": b, "c": c, "y": result})
for (name, v), slope in zip(at.items(), (d_a, d_b, d_c)):
    ax, line = axes[name], mt.linspace(v - 2, v + 2, 200).tolist()
    ax.plot(line, [f(**{name: x}) for x in line], color=BLUE)
    ax.plot([v - 1, v + 1], [y.item() - slope, y.item() + slope], color=RED, lw=2)
    ax.plot(v, y.item(), "o", color=INK, ms=9)
    ax.text(v + 0.2, y.item() - 0.35, f"slope {slope:.3f}", color=RED, size=16)
    ax.set(xlabel=name, ylim=(-1.1, 1.3), title=f"∂y/∂{name}: the slope where we are")
axes["a"].set_ylabel("y")
save(figure, "04_gradients")
