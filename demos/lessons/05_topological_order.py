"""Lesson 5: why backpropagation needs a topological order."""

from _page import GREEN, RED, check, graph, plt, save, say, show, title

import microtensor as mt

title("5. Why topological order?")
say("""backward() visits the operations one by one. In which order? Here a = 3x is used in two
    places: by b = a·a, and once more by y = b + a.""")


def program(x):
    a = x * 3
    b = a * a
    return {"a": a, "b": b, "y": b + a}


x = mt.tensor(2.0, requires_grad=True)
made = program(x)
made["y"].backward()
show(y=made["y"].item(), gradient=x.grad.item())
say("By hand: y = 9x² + 3x, so its slope at x = 2 is 18 · 2 + 3 = 39.")
check("backward() gets 39", x.grad.item() == 39)

say("""Now a machine in a hurry, which passes a gradient on as soon as some of it arrives. The
    sum y sends 1 to a and 1 to b. If a goes first it has only y's share, sends 3 on to x, and is
    finished. When b's share of 6 + 6 arrives at a, nobody is there any more.""")
grads = {"y": 1.0, "a": 0.0, "b": 0.0, "x": 0.0}
local = {"y": [("b", 1), ("a", 1)], "b": [("a", 12)], "a": [("x", 3)]}  # b = a², slope 2a = 12


def backward(order):
    found = dict.fromkeys(grads, 0.0) | {"y": 1.0}
    for node in order:
        for to, slope in local[node]:
            found[to] += found[node] * slope
    return found["x"]


show(hurried=backward(["y", "a", "b"]), patient=backward(["y", "b", "a"]))
check("in a hurry: wrong", backward(["y", "a", "b"]) == 3)
check("every user before what it used: right", backward(["y", "b", "a"]) == 39)

say("""The rule: a node may pass its gradient on when all who used it have sent theirs. An order
    that keeps it is called topological. microtensor numbers every operation at its birth; an
    operation is always younger than its inputs, so from the youngest to the oldest will do.""")
numbers = {name: t.grad_fn.number for name, t in program(x).items()}
show(birth_numbers=numbers)
check("inputs are older than what is made of them", numbers["a"] < numbers["b"] < numbers["y"])

say("""Or send every share on by itself, all the way down, as often as one arrives? That is right
    too, but counts every path: thirty lines of x = x + x have 2³⁰ paths.""")


def paths(n):
    """The number of shares that arrive if each is sent on by itself."""
    return 1 if n == 0 else 2 * paths(n - 1)


depths = list(range(1, 31))
deep = start = mt.tensor(1.0, requires_grad=True)
for _ in depths:
    deep = deep + deep
deep.backward()
show(visits_in_order=30, visits_by_path=2**30, gradient=start.grad.item())
check("30 visits find the gradient 2³⁰", start.grad.item() == 2**30)

figure, (left, right) = plt.subplots(1, 2, figsize=(15, 6), width_ratios=[1.5, 1])
x = mt.tensor(2.0, requires_grad=True)
made = program(x)
graph(left, made["y"], {"x": x, **made})
left.set_title("a waits until y and b have sent their shares: 6 + 6 + 1 = 13")
right.semilogy(depths, [paths(n) if n < 15 else 2.0**n for n in depths], color=RED)
right.semilogy(depths, depths, color=GREEN)
right.text(12, 2e5, "every path\nby itself", color=RED, ha="right", size=16)
right.text(20, 60, "in topological order", color=GREEN, ha="center", size=16)
right.set(title="visits for n lines of x = x + x", xlabel="n", ylabel="visits")
save(figure, "05_topological_order")
