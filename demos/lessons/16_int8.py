"""Lesson 16: int8, or a quarter of the memory for the same text."""

from _page import BLUE, GOLD, GREEN, INK, RED, check, plt, save, say, show, title

import microtensor as mt
from microtensor import nn, optim
from microtensor import quantization as q

title("16. Small numbers")
say("""A weight is a number of 32 bits. But it is one of many, and they are all small and alike: a
    ruler with 255 marks, laid over the largest of a row, comes near to each of them. What is kept
    is which mark it is, one byte, and how far apart the marks are, one number for each row.""")
row = mt.tensor([0.31, -0.84, 0.02, 0.55, -0.13])
scale = row.abs().max() / 127
codes = (row / scale).round()
back = codes * scale
show(row=row, scale=scale.item(), codes=codes, back=back, error=(back - row).abs().max().item())
check("no number is further off than half a step", (back - row).abs().max() <= scale / 2 + 1e-7)
linear = nn.Linear(5, 1, bias=False)
with mt.no_grad():
    linear.weight.copy_(row[None])
q.quantize_(linear, q.Int8WeightOnlyConfig())
check("quantize_ keeps just these bytes", linear.state_dict()["weight.int8"][0].equal(codes.char()))

say("""Why a scale for each row? One large number makes the ruler coarse for all that share it. With
    a single scale for a whole matrix, one row of large numbers takes the marks from the others.""")
mt.manual_seed(0)
matrix = mt.randn(64, 256) * mt.tensor([0.05] * 63 + [5.0])[:, None]
off = lambda scale: ((matrix / scale).round() * scale - matrix)[:63].abs().mean().item()
by_row = off(matrix.abs().amax(1, keepdim=True) / 127)
by_matrix = off(matrix.abs().max() / 127)
show(error_with_a_scale_a_row=by_row, error_with_one_scale=by_matrix)
check("a scale for each row is more than ten times better", by_matrix > 10 * by_row)

say("""Does a network notice? It learns two spirals first; then its weights lose 24 bits of 32, or
    28 of 32 with a scale for each 32 numbers.""")
n = mt.rand(600) ** 0.5
turn, side = 9 * n, mt.randint(0, 2, (600,))
angle = turn + side * 3.1416
points = mt.stack([n * angle.cos(), n * angle.sin()], 1) + 0.02 * mt.randn(600, 2)
layers = lambda: (nn.Linear(2, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 2))
model = nn.Sequential(*layers())
optimizer, loss_of = optim.AdamW(model.parameters(), lr=0.01), nn.functional.cross_entropy
for _ in range(500):
    loss = loss_of(model(points), side)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
state, results = {k: v.clone() for k, v in model.state_dict().items()}, {}
for name, config in (("float32", None), ("int8", q.Int8WeightOnlyConfig()),
                     ("int4", q.Int4WeightOnlyConfig(32))):  # fmt: skip
    small = nn.Sequential(*layers())
    small.load_state_dict(state)
    if config:
        q.quantize_(small, config, lambda module, path: path == "2")  # the largest matrix
    right = (small(points).argmax(1) == side).float().mean().item()
    loss = loss_of(small(points), side).item()
    results[name] = q.weight_bytes(small[2]), loss, right, small
show(**{k: f"{b:6,} bytes, loss {x:.4f}, right {r:.3f}" for k, (b, x, r, _) in results.items()})
check("int8 takes less than a third here", results["int8"][0] < results["float32"][0] / 3)
check("and the loss stays within 0.01", abs(results["int8"][1] - results["float32"][1]) < 0.01)
check("int4 is off by more", results["int4"][1] != results["int8"][1])

figure, axes = plt.subplots(1, 3, figsize=(17, 5.8))
axes[0].plot(row.numpy(), "o", color=INK, ms=12, label="a row")
axes[0].plot(back.numpy(), "+", color=RED, ms=16, mew=2.5, label="from bytes")
axes[0].set(title="five numbers, and what the bytes give back", xlabel="number")
axes[0].legend()
numbers = model[2].weight.detach().reshape(-1)
for name, colour in (("int8", GREEN), ("int4", GOLD)):
    error = (results[name][3][2].weight.detach().reshape(-1) - numbers).abs()
    axes[1].hist(error.numpy(), 40, color=colour, alpha=0.8, label=name)
axes[1].set(title="errors of 4,096 weights", yscale="log", xlabel="error")
axes[1].legend()
axes[2].bar(list(results), [r[0] for r in results.values()], color=[BLUE, GREEN, GOLD])
axes[2].set(title="bytes of the layer")
save(figure, "16_int8")
