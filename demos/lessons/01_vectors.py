"""Lesson 1: vectors and dot products."""

import math

from _page import BLUE, GREEN, INK, PALE, RED, check, close, grid, plt, save, say, show, title

import microtensor as mt

title("1. Vectors and dot products")
say("""A vector is a list of numbers, and a picture of it is an arrow. The dot product of two
    vectors multiplies them number by number and adds up:""")
a, b = mt.tensor([3.0, 1.0]), mt.tensor([2.0, 2.5])
show(a=a, b=b, products=a * b, dot=a @ b)
check("a · b is the sum of the products", close(a @ b, (a * b).sum()))

say("""The same number comes out of lengths and the angle between the arrows: |a| |b| cos θ. So
    the dot product asks: how far do they point the same way? It is positive for one direction,
    zero for a right angle, negative for opposite directions.""")
lengths = (a @ a).sqrt() * (b @ b).sqrt()
angle = mt.atan2(b[1], b[0]) - mt.atan2(a[1], a[0])
show(lengths=lengths, degrees=angle * 180 / math.pi, product=lengths * angle.cos())
check("|a| |b| cos θ = a · b", close(lengths * angle.cos(), a @ b))
shadow = (a @ b) / (b @ b) * b  # of a on the line of b
check(
    "what is left of a beside its shadow on b stands at a right angle", close((a - shadow) @ b, 0)
)

say("""Machines compare meanings in this way. Here four words have three numbers each: how much
    is it an animal, how large is it, does it have wheels? All dot products at once are one
    matrix product, words @ wordsᵀ; divided by the lengths they are cosines.""")
names = ["cat", "tiger", "bicycle", "lorry"]
words = mt.tensor([[1.0, 0.1, 0.0], [1.0, 0.7, 0.0], [0.0, 0.2, 0.8], [0.0, 0.9, 1.0]])
unit = words / (words * words).sum(1, keepdim=True).sqrt()
cosines = unit @ unit.mT
show(cosines=cosines)
check("every word is most like itself", (cosines.argmax(1) == mt.arange(4)).all().item())
check("a tiger is more like a cat than like a lorry", (cosines[1, 0] > cosines[1, 3]).item())

say("""A neuron is a dot product too: it asks how far its input points the way of its weights.
    And the derivative of a · b in a is b: to raise the dot product fastest, move a towards
    b.""")
a.requires_grad_()
(a @ b).backward()
show(gradient=a.grad)
check("∂(a · b)/∂a = b", close(a.grad, b))

figure, (left, middle, right) = plt.subplots(1, 3, figsize=(15, 5.6), width_ratios=[1.1, 1, 1.1])
line = (b * 1.5).tolist()
left.plot([0, line[0]], [0, line[1]], color=PALE, zorder=0)
for v, name, colour in ((a, "a", BLUE), (b, "b", RED), (shadow, "shadow of a", GREEN)):
    x, y = v.tolist()
    left.annotate("", (x, y), (0, 0), arrowprops={"arrowstyle": "-|>", "color": colour, "lw": 3})
    place = (x - 0.15, y + 0.12) if name != "a" else (x + 0.08, y - 0.05)
    left.text(*place, name, color=colour, size=17, ha="left" if name == "a" else "right")
left.plot(*zip(a.tolist(), shadow.tolist()), color=INK, lw=1.2, ls=":")
left.set(title=f"a · b = {(a @ b).item():.1f} = |shadow| |b|", aspect="equal")
left.set(xlim=(-0.4, 3.7), ylim=(-0.4, 3.2))

turn = mt.linspace(0, 360, 181)
arrows = mt.stack([(turn * math.pi / 180).cos(), (turn * math.pi / 180).sin()])
middle.plot(turn.numpy(), (mt.tensor([1.0, 0.0]) @ arrows).numpy(), color=BLUE)
middle.axhline(0, color=INK, lw=1)
for at, text, up in ((0, "same way", 0), (90, "right angle", 0.08), (180, "opposite", -0.12)):
    middle.plot(at, round(math.cos(math.radians(at))), "o", color=RED, ms=9)
    middle.text(at + 16, round(math.cos(math.radians(at))) + up, text, color=RED)
middle.set(title="two arrows of length 1", xlabel="angle between them (degrees)")
middle.set(ylim=(-1.2, 1.15), ylabel="dot product", xticks=[0, 90, 180, 270, 360])

grid(right, cosines, "cosines of four words", names, names, limit=1)
save(figure, "01_vectors")
