"""Lesson 6: why gradients accumulate, and what zero_grad is for."""

from _page import BLUE, GREEN, RED, check, close, graph, plt, save, say, show, title

import microtensor as mt
from microtensor import optim

title("6. Why gradients accumulate, and zero_grad")
say("""A value that is used twice changes the result in two ways. If x rises by a little, both
    uses feel it, and their effects add up. So gradients are added where they meet, never
    replaced.""")
x = mt.tensor(3.0, requires_grad=True)
first, second = x * 2, x * x
y = first + second
y.backward()
show(through_2x=2.0, through_x_squared=2 * x.item(), gradient=x.grad.item())
check("the shares of both ways, added", x.grad.item() == 2.0 + 2 * 3.0)

say("""The same rule holds from one backward() to the next: the new gradient is added to .grad.
    That is a gift. A batch that is too large for the memory can be cut in parts; the gradients
    of the parts add up to that of the whole.""")
mt.manual_seed(0)
data, target = mt.randn(64, 3), mt.randn(64)
w = mt.zeros(3, requires_grad=True)
((data @ w - target) ** 2).sum().backward()
whole, w.grad = w.grad, None
for part in range(4):
    rows = slice(part * 16, part * 16 + 16)
    ((data[rows] @ w - target[rows]) ** 2).sum().backward()
show(whole=whole, four_parts=w.grad)
check("four quarters make the whole", close(w.grad, whole))

say("""But between two steps of training it is a trap. The gradient of the last step says where
    down was *then*; it must be forgotten before the next. That is all that zero_grad() does.
    Whoever leaves it out walks with a growing heap of old directions, and cannot stop at the
    bottom.""")


def train(forget):
    p = mt.tensor([4.0, 3.0], requires_grad=True)
    optimizer, path = optim.SGD([p], lr=0.06), []
    for _ in range(60):
        if forget:
            optimizer.zero_grad()
        loss = 0.5 * p[0] ** 2 + 1.5 * p[1] ** 2
        loss.backward()
        path.append([*p.tolist(), loss.item()])
        optimizer.step()
    return mt.tensor(path)


right, wrong = train(True), train(False)
show(with_zero_grad=right[-1, 2].item(), without=wrong[-1, 2].item())
check("with zero_grad the loss is almost nothing", right[-1, 2].item() < 0.02)
check("without it the loss comes back up, again and again",
      wrong[30:, 2].max().item() > 10 * right[30:, 2].max().item())  # fmt: skip

figure, axes = plt.subplot_mosaic(
    [["g", "p"], ["g", "l"]], figsize=(15, 7.6), width_ratios=[1, 1.1]
)
x = mt.tensor(3.0, requires_grad=True)
first, second = x * 2, x * x
y = first + second
graph(axes["g"], y, {"x": x, "y": y}, direction="TB")
axes["g"].set_title("two uses, one gradient: 2 + 6 = 8")
side = mt.linspace(-6, 6, 100)
bowl = 0.5 * side[None, :] ** 2 + 1.5 * side[:, None] ** 2
axes["p"].contour(side.numpy(), side.numpy(), bowl.numpy(), 12, cmap="Greys", alpha=0.5)
for path, colour, name in ((wrong, RED, "without zero_grad"), (right, GREEN, "with zero_grad")):
    axes["p"].plot(*path[:, :2].mT.numpy(), "o-", color=colour, ms=4, lw=1.6)
    axes["l"].plot(path[:, 2].numpy(), color=colour, label=name)
axes["p"].plot(0, 0, "*", color=BLUE, ms=18)
axes["p"].set(
    title="the way down, seen from above", xlim=(-6, 6), ylim=(-4, 4), xticks=[], yticks=[]
)
axes["l"].set(xlabel="step", ylabel="loss", ylim=(-1, 30))
axes["l"].legend(ncols=2, loc="upper center")
save(figure, "06_accumulation")
