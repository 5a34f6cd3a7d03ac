"""Lesson 8: attention, step by step, with numbers."""

import math

from _page import HEAT, check, close, grid, plt, save, say, show, title

import microtensor as mt
from microtensor.nn import functional as F

title("8. Attention, step by step")
say("""Four words: "the cat saw it". To understand "it", a reader looks back to "cat". Attention
    does that with dot products. Every word makes three vectors: a query (what do I look for?), a
    key (what am I?) and a value (what do I tell?). Here they are chosen by hand, so that one can
    read them; a network learns them. The columns stand for: article, noun, verb.""")
words = ["the", "cat", "saw", "it"]
q = mt.tensor([[0.0, 1.0, 0.0], [2.0, 0.0, 0.0], [0.0, 3.0, 0.0], [0.0, 4.0, 0.5]])
k = mt.tensor([[2.0, 0.0, 0.0], [0.0, 2.0, 0.0], [0.0, 0.0, 2.0], [0.0, 0.4, 0.0]])
v = mt.tensor([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5], [0.0, 0.0]])
T, D = q.shape
show(q=q, k=k, v=v)

say("""1. Scores: every query with every key. Row i, column j: how much does word i want word j?
    The division by √D keeps the scores in a range where softmax is not saturated.""")
scores = q @ k.mT / math.sqrt(D)  # (T, D) @ (D, T) -> (T, T)
show(scores=scores)
check("row it, column cat is q_it · k_cat / √3", close(scores[3, 1], q[3] @ k[1] / math.sqrt(3)))

say("""2. The mask: a word may look at itself and at what came before, never ahead. Forbidden
    scores become −∞, because e^−∞ = 0.""")
future = mt.ones(T, T, dtype=mt.bool).triu(1)
masked = scores.masked_fill(future, -math.inf)
show(masked=masked)

say("""3. Softmax along each row: the scores become shares that add up to 1.""")
weights = masked.softmax(-1)
show(weights=weights)
check("every row adds up to 1", close(weights.sum(-1), mt.ones(T)))
check("nobody sees the future", (weights.masked_fill(~future, 0.0) == 0).all().item())
check('"it" looks mostly at "cat"', weights[3].argmax().item() == 1 and weights[3, 1].item() > 0.8)

say("""4. The mixture: every word takes the values of the others in these shares. "it" is now
    almost what "cat" had to tell.""")
y = weights @ v  # (T, T) @ (T, D_v) -> (T, D_v)
show(y=y)
check("the library does exactly this",
      close(y, F.scaled_dot_product_attention(q, k, v, is_causal=True)))  # fmt: skip

say("""5. Backwards. Suppose that the answer at "it" is to change. Which words get a gradient in
    their values? Those that were looked at, in the same shares; none comes from the future. And
    the query of "it" learns which keys it ought to have preferred.""")
for t in (q, k, v):
    t.requires_grad_()
F.scaled_dot_product_attention(q, k, v, is_causal=True)[3, 1].backward()
show(value_gradient=v.grad[:, 1], query_gradient=q.grad)
check("values get the gradient in the shares of attention", close(v.grad[:, 1], weights[3]))
check('only the query of "it" is asked', close(q.grad[:3], mt.zeros(3, D)))

figure, axes = plt.subplots(1, 4, figsize=(17, 5.4), width_ratios=[4, 4, 4, 2])
grid(axes[0], scores, "1. scores  q kᵀ / √D", words, words, limit=4.5)
grid(axes[1], masked, "2. no looking ahead", words, words, limit=4.5)
grid(axes[2], weights, "3. softmax: who looks at whom", words, words, cmap=HEAT, limit=1)
grid(axes[3], y, "4. weights @ v", words, ["", ""], cmap=HEAT, limit=1)
for ax in axes[:3]:
    ax.set(xlabel="key of", ylabel="query of")
save(figure, "08_attention")
