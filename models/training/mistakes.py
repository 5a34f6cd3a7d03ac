"""The classic mistakes, each planted in a training that is right without it.

The task: a word of four letters, drawn anew for each text, again and again. The first letters can
only be guessed; all others are known to who looks four back. No honest model gets below `FLOOR`,
and one that has learned continues every text rightly.

Each mistake is a `Training` with one thing wrong in it, in the place where people get it wrong.
"""

import math
from contextlib import contextmanager

import microtensor as mt
from microtensor import nn, optim
from microtensor.autograd import engine, op, registry, xp

from ..generation.sampling import evaluating
from ..ladder.tiny_transformer import TinyTransformer, TinyTransformerConfig

LETTERS, WORD, LENGTH = 8, 4, 16
FLOOR = (WORD - 1) / LENGTH * math.log(LETTERS)  # nats per letter


class Training:
    """Nothing is wrong."""

    kind = None  # what mt.diagnose calls the mistake
    lr = 3e-3

    def __init__(self, seed=0):
        mt.manual_seed(seed)
        self.model = self.build()
        self.optimizer = optim.AdamW(self.model.parameters(), lr=self.lr)

    def build(self):
        config = TinyTransformerConfig(LETTERS, LENGTH, d_model=32, n_heads=2, n_layers=2)
        model = TinyTransformer(config)
        for block in model.blocks:
            block.mlp.append(nn.Dropout(0.1))
        return model

    def batch(self, size=32):
        """Letters (B, T), and the letters after them."""
        words = mt.randint(0, LETTERS, (size, WORD))
        text = words.repeat(1, LENGTH // WORD + 1)
        return text[:, :LENGTH], text[:, 1 : LENGTH + 1]

    def step(self, idx, targets):
        self.optimizer.zero_grad()
        _, loss = self.model(idx, targets)
        loss.backward()
        self.optimizer.step()
        return loss.item()

    def evaluate(self, idx, targets):
        """The loss on a batch, without dropout."""
        with evaluating(self.model), mt.no_grad():
            return self.model(idx, targets)[1].item()

    def continues(self, size=64):
        """The share of letters that the model gets right when it writes the second half alone."""
        idx, _ = self.batch(size)
        half = LENGTH // 2
        written = mt.stack(list(self.model.generate(idx[:, :half], half, temperature=0)), 1)
        return (written == idx[:, half:]).float().mean().item()

    @contextmanager
    def planted(self):
        """While the mistake is there; the engine is as it was afterwards."""
        yield self


# ---- in the loop of training -------------------------------------------------------------------


class ZeroGrad(Training):
    """zero_grad is forgotten: each step goes along the sum of all gradients so far."""

    kind = "zero_grad"

    def step(self, idx, targets):
        _, loss = self.model(idx, targets)
        loss.backward()
        self.optimizer.step()
        return loss.item()


class LearningRate(Training):
    """The learning rate, times a hundred."""

    kind = "lr"
    lr = 100 * Training.lr


class Uphill(Training):
    """A wrong sign in the update: the steps go up the slope."""

    kind = "sign"

    def __init__(self, seed=0):
        super().__init__(seed)
        self.optimizer.param_groups[0]["maximize"] = True  # p + lr · g


class Targets(Training):
    """The targets are not shifted: the model learns to repeat each letter."""

    kind = "targets"

    def batch(self, size=32):
        idx, _ = super().batch(size)
        return idx, idx


class Evaluation(Training):
    """Dropout at evaluation: eval() is forgotten."""

    kind = "dropout"

    def evaluate(self, idx, targets):
        with mt.no_grad():
            return self.model(idx, targets)[1].item()


# ---- in the model --------------------------------------------------------------------------------


class Attention(nn.Module):
    """Attention whose mask can be left out, and whose softmax can be over any dimension."""

    later = 1  # the first diagonal that the mask covers

    def __init__(self, right, causal=True, dim=-1):
        super().__init__()
        self.right, self.causal, self.dim = right, causal, dim

    def forward(self, x):
        B, T, C = x.shape
        heads = (B, T, self.right.n_heads, C // self.right.n_heads)
        q, k, v = (
            layer(x).reshape(heads).transpose(1, 2)
            for layer in (self.right.query, self.right.key, self.right.value)
        )
        scores = q @ k.transpose(2, 3) / math.sqrt(q.shape[-1])
        if self.causal:
            later = mt.ones(T, T, dtype=mt.bool).triu(self.later)
            scores = scores.masked_fill(later, -math.inf)
        y = scores.softmax(self.dim) @ v
        return self.right.out(y.transpose(1, 2).reshape(B, T, C))


class Mask(Training):
    """No causal mask: the model sees the letters that it is to predict."""

    kind = "mask"

    def build(self):
        model = super().build()
        for block in model.blocks:
            block.attention = Attention(block.attention, causal=False)
        return model


class Softmax(Training):
    """The softmax of attention is over the letters that ask, not over those that are asked."""

    kind = "softmax"

    def build(self):
        model = super().build()
        for block in model.blocks:
            block.attention = Attention(block.attention, dim=-2)
        return model


class Zeros(Training):
    """All weights start at zero."""

    kind = "alike"

    def build(self):
        model = super().build()
        for p in model.parameters():
            nn.init.zeros_(p)
        return model


class Sign(Training):
    """A wrong sign in the derivative of ReLU, which somebody wrote as an operation of their own."""

    kind = "sign"

    def build(self):
        @op
        def my_relu(x):
            """x where x > 0, else 0.    ∂x = −g where x > 0: wrong"""
            positive = xp(x).astype(x > 0, x.dtype)
            return x * positive, lambda g: -g * positive

        registry.pop("my_relu")  # it is an operation of this model alone
        model = super().build()
        for block in model.blocks:
            block.mlp[1] = Function(my_relu)
        return model


class Function(nn.Module):
    """A function as a layer."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


# ---- in the engine -------------------------------------------------------------------------------


class Accumulate(Training):
    """`=` instead of `+=`: where two gradients meet, the second replaces the first."""

    kind = "accumulate"

    @contextmanager
    def planted(self):
        right = engine._add

        def replace(pending, heap, edge, g):
            source, index = edge
            if source in pending:
                pending[source][index] = g
            else:
                right(pending, heap, edge, g)

        with replaced("_add", replace):
            yield self


class Broadcast(Training):
    """Broadcasting is not undone: of a gradient that should be summed, the first part is taken."""

    kind = "broadcast"

    @contextmanager
    def planted(self):
        def first(g, like):
            while g.ndim > len(like.shape):
                g = g[0]
            for axis, n in enumerate(like.shape):
                if n != g.shape[axis]:
                    g = g.take([0], axis)
            return g.astype(like.dtype)

        with replaced("unbroadcast", first):
            yield self


@contextmanager
def replaced(name, instead, module=engine):
    """The engine with another function under a name."""
    before = getattr(module, name)
    setattr(module, name, instead)
    try:
        yield
    finally:
        setattr(module, name, before)


MISTAKES = {
    "zero_grad": ZeroGrad,
    "accumulate": Accumulate,
    "sign": Sign,
    "uphill": Uphill,
    "mask": Mask,
    "softmax": Softmax,
    "targets": Targets,
    "broadcast": Broadcast,
    "learning_rate": LearningRate,
    "dropout": Evaluation,
    "zeros": Zeros,
}


def diagnosed(training, size=8):
    """The findings of mt.diagnose on a training."""
    return mt.diagnose(
        training.model, training.batch(size), optimizer=training.optimizer, step=training.step,
        evaluate=training.evaluate,
    )  # fmt: skip
