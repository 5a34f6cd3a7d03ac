"""Lesson 7: broadcasting, and its gradient."""

from _page import BLUE, HEAT, RED, check, close, grid, plt, save, say, show, title

import microtensor as mt

title("7. Broadcasting and its gradient")
say("""Four examples with three numbers each, and one bias of three numbers. May we add them?
    Yes: shapes are lined up from the last size, and where one has 1, or nothing, it is used
    again.""")
x = mt.tensor([[1.0, 2.0, 3.0], [0.0, 1.0, 0.0], [2.0, 2.0, 2.0], [5.0, 0.0, 1.0]])
bias = mt.tensor([10.0, 20.0, 30.0], requires_grad=True)
y = x + bias
show(x_shape=tuple(x.shape), bias_shape=tuple(bias.shape), y=y.detach())
check("every row got the same bias", close(y, x + mt.stack([bias] * 4)))

say("""Nothing was copied, but the bias was used four times. And what was used four times has
    four gradients, which are added (lesson 6). So the derivative of repeating is summing:""")
g = mt.tensor([[1.0, 0.0, 2.0], [1.0, 1.0, 0.0], [1.0, 0.0, 0.0], [1.0, 3.0, 1.0]])
y.backward(g)
show(gradient_of_y=g, gradient_of_bias=bias.grad)
check("the gradient of the bias is the sum over the rows", close(bias.grad, g.sum(0)))
check("it has the shape of the bias", bias.grad.shape == bias.shape)

say("""The other way round it is true as well: the derivative of summing is repeating. Every
    number that was added up gets the whole gradient of the sum.""")
z = mt.tensor([1.0, 2.0, 3.0], requires_grad=True)
(z.sum() * 7).backward()
show(gradient=z.grad)
check("7, handed out to all", close(z.grad, mt.full((3,), 7.0)))

say("""microtensor does this in one place, so that no operation needs to think of it: whatever
    shape a gradient arrives in, it is summed to the shape of its input. A column times a
    row:""")
column = mt.tensor([[1.0], [2.0]], requires_grad=True)
row = mt.tensor([[10.0, 20.0, 30.0]], requires_grad=True)
(column * row).sum().backward()
show(product=(column * row).detach(), column_gradient=column.grad, row_gradient=row.grad)
check("each gets the sum of the other", close(column.grad, mt.full((2, 1), 60.0))
      and close(row.grad, mt.full((1, 3), 3.0)))  # fmt: skip

say("""And a warning. Predictions of shape (4, 1) minus targets of shape (4) are not four
    differences but sixteen, without a word of complaint. The loss looks reasonable, and teaches
    nonsense.""")
prediction, target = mt.tensor([[1.0], [2.0], [3.0], [4.0]]), mt.tensor([1.0, 2.0, 3.0, 4.0])
wrong, right = ((prediction - target) ** 2).mean(), ((prediction[:, 0] - target) ** 2).mean()
show(wrong_shape=tuple((prediction - target).shape), wrong=wrong.item(), right=right.item())
check("perfect predictions, and yet a loss", wrong.item() == 2.5 and right.item() == 0)

figure, axes = plt.subplots(2, 3, figsize=(14, 8.4), height_ratios=[1, 1])
bias = bias.detach()
for ax, value, text in zip(
    axes[0], (x, mt.stack([bias] * 4), y), ("x", "+ bias, used 4 times", "= y")
):
    grid(ax, value, text, cmap=HEAT, limit=55, digits=0)
for ax, value, text in zip(axes[1], (g.sum(0, keepdim=True), g, g),
                           ("summed: ∂bias", "a ∂ for each use", "∂y arrives")):  # fmt: skip
    grid(ax, value, text, cmap="Reds", limit=4, digits=0)
for i in range(1, 4):  # the repeated rows are pale: they are the same memory
    axes[0, 1].axhspan(i - 0.5, i + 0.5, color="white", alpha=0.55)
axes[1, 0].set_ylim(2, -2)  # squares as large as the others
axes[0, 1].set_xlabel("forwards: repeat  →", color=BLUE, size=20, labelpad=12)
axes[1, 1].set_xlabel("←  backwards: sum", color=RED, size=20, labelpad=12)
save(figure, "07_broadcasting")
