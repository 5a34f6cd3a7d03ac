"""Looking inside a model while it computes what it would compute anyway.

Any module built with microtensor will do, as it is: these functions listen, through hooks and
through the backend, and change no code of the model and no number of its output.

- `attention(model)` hears the weights of every attention head.
- `logit_lens(model, idx)` asks what each layer would already predict.
- `saliency(model, idx)` tells which tokens of the input moved the output.
- `without(module)` is a model without one of its parts.
"""

import threading
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import microtensor as mt
from microtensor import nn
from microtensor.backends import backend_of, register

from ..generation.sampling import evaluating

# ---- attention ---------------------------------------------------------------------------------


@dataclass
class Heads:
    """The attention of one layer's heads: row t of (B, H, T, S) sums to one, over S tokens.

    `path` is the module that was at work: "blocks.0.attention".
    """

    path: str
    weights: mt.Tensor


@contextmanager
def attention(model):
    """A list that fills with the `Heads` of every attention that the model computes, in order.

    It hears F.scaled_dot_product_attention, nn.MultiheadAttention, and attention written by hand:
    any softmax over the last of two dimensions or more. Dropout comes after what is heard.
    """
    heard, at_work, thread = [], [], threading.get_ident()

    def hear(weights):
        if at_work and weights.ndim > 1 and threading.get_ident() == thread:
            shape = (1,) * (4 - weights.ndim) + tuple(weights.shape)
            if weights.ndim == 3:  # (B, T, S): one head
                shape = (weights.shape[0], 1, *weights.shape[1:])
            copy = backend.asarray(weights, copy=True)
            heard.append(Heads(at_work[-1], mt.Tensor._wrap(copy).reshape(shape)))

    def finish(path):
        while at_work.pop() != path:
            pass  # a module that an exception ended

    array = next(model.parameters())._data
    backend = backend_of(array)
    with ExitStack() as stack:
        for path, module in model.named_modules():
            before = module.register_forward_pre_hook(lambda *_, path=path: at_work.append(path))
            after = module.register_forward_hook(lambda *_, path=path: finish(path))
            stack.callback(before.remove)
            stack.callback(after.remove)
        stack.callback(register, backend, None, type(array))
        register(Listening(backend, hear), None, type(array))
        yield heard


class Listening:
    """A backend in front of another, whose kernels it calls: it lets `hear` have the weights."""

    def __init__(self, backend, hear):
        self._backend, self._hear = backend, hear

    def __getattr__(self, kernel):
        return getattr(self._backend, kernel)

    def attention(self, *args):
        value, weights, keep = self._backend.attention(*args)
        self._hear(weights)
        return value, weights, keep

    def cached_attention(self, *args):
        value, weights = self._backend.cached_attention(*args)
        self._hear(weights)
        return value, weights

    def softmax(self, x, dim):
        value = self._backend.softmax(x, dim)
        if dim in (-1, x.ndim - 1):
            self._hear(value)
        return value


# ---- what each layer would predict -------------------------------------------------------------


@mt.no_grad()
def logit_lens(model, idx, blocks=None):
    """The logits (L + 1, B, T, V) after 0, 1, … all L of the model's blocks.

    The blocks above let their input pass, so that what the model does with the last block's result,
    it does with that of an earlier one (nostalgebraist, 2020, "interpreting GPT: the logit lens").
    The last of the logits are therefore the model's own. `blocks` is the longest nn.ModuleList in
    the model unless given. ValueError if there is none.
    """
    blocks = list(stack_of(model) if blocks is None else blocks)
    lens = []
    with evaluating(model):
        for depth in range(len(blocks) + 1):
            with replaced(blocks[depth:], _input):
                lens.append(logits_of(model(idx)))
    return mt.stack(lens)


def stack_of(model):
    """The longest nn.ModuleList in a model: its blocks. ValueError if there is none."""
    stacks = [m for m in model.modules() if isinstance(m, nn.ModuleList) and len(m)]
    if not stacks:
        raise ValueError(
            f"{type(model).__name__} has no nn.ModuleList of blocks; name them with blocks="
        )
    return max(stacks, key=len)


def logits_of(output):
    """The logits of what a language model returns: them alone, or with a loss after them."""
    return output[0] if isinstance(output, tuple) else output


def _input(args, kwargs, result):
    first = (*args, *kwargs.values())[0]
    return (first, *result[1:]) if isinstance(result, tuple) else first


@contextmanager
def replaced(modules, instead):
    """Modules that give instead(args, kwargs, result) for a while."""
    with ExitStack() as stack:
        for module in modules:
            hook = module.register_forward_hook(
                lambda _, args, kwargs, result: instead(args, kwargs, result), with_kwargs=True
            )
            stack.callback(hook.remove)
        yield


@contextmanager
def without(*modules):
    """Modules whose parameters are zero for a while: what the model would be without them."""
    kept = {p: p.data for module in modules for p in module.parameters()}
    for p, data in kept.items():
        p.data = mt.zeros_like(data)
    try:
        yield
    finally:
        for p, data in kept.items():
            p.data = data


# ---- which tokens moved the output -------------------------------------------------------------


def saliency(model, idx, target=None):
    """The amount by which each token of idx (T,) raised or lowered the next token's logit: (T,).

    It is gradient · embedding: the slope of that logit when the token's vector is made longer, as
    it comes out of the table (arXiv:1312.6034, arXiv:1605.01713). `target` is the likeliest unless
    given. ValueError if no nn.Embedding reads the tokens.
    """
    found = []

    def hold(args, kwargs, vectors):
        tokens = (*args, *kwargs.values())[0]
        if found or tokens.ndim < 2 or not ends_alike(last_row(tokens), idx):
            return vectors
        found.append(vectors.detach().requires_grad_())
        return found[0]

    tables = [m for m in model.modules() if isinstance(m, nn.Embedding)]
    with evaluating(model), mt.enable_grad(), replaced(tables, hold):
        logits = last_logits(model(idx[None]))[0]
        if not found:
            raise ValueError(f"no nn.Embedding of {type(model).__name__} looks the tokens up")
        if target is None:
            target = int(logits.argmax())
        (gradient,) = mt.autograd.grad(logits[target], found)
    pushes = last_row((gradient * found[0].detach()).sum(-1))[-len(idx) :]
    return mt.cat([pushes.new_zeros(len(idx) - len(pushes)), pushes])


def last_row(x):
    """The (T,) of a text (1, T), or the last window of all its windows (1, T, n)."""
    return x.reshape(-1, x.shape[-1])[-1]


def ends_alike(tokens, idx):
    n = min(len(tokens), len(idx))
    return bool((tokens[-n:] == idx[-n:]).all())


def last_logits(output):
    """The logits (B, V) of the next token, from what a model returns for whole texts."""
    logits = logits_of(output)
    return logits[:, -1] if logits.ndim == 3 else logits
