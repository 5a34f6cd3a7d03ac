"""Matrices of derivatives and products with them: PyTorch's `autograd.functional`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import autograd, ops
from ..tensor import Tensor
from ..tensor.creation import zeros_like
from ..typing import TensorOrTensors


def jacobian(func: Callable[..., Any], inputs: TensorOrTensors, create_graph: bool = False,
             strict: bool = False, vectorize: bool = False) -> Any:  # fmt: skip
    """∂func(*inputs)ᵢ/∂inputsⱼ, of the result's shape and then the input's.

    Several results, of which func returns a tuple, give a tuple, and in it several inputs one of
    their own. Zeros where a result does not depend on an input: `strict` raises RuntimeError there.
    """
    xs = _to_differentiate(inputs, create_graph)
    with autograd.enable_grad():
        results = func(*xs)
        found = []
        for y in _several("jacobian", "func's results are", results):
            rows = [
                _derivatives("jacobian", (e,), (None,), xs, create_graph, strict)
                for e in y.reshape(-1)
            ]
            parts = [ops.stack([row[j] for row in rows]) if rows else x for j, x in enumerate(xs)]
            parts = [part.reshape(*y.shape, *x.shape) for part, x in zip(parts, xs)]
            found.append(parts[0] if isinstance(inputs, Tensor) else tuple(parts))
    return tuple(found) if isinstance(results, tuple) else found[0]


def hessian(func: Callable[..., Any], inputs: TensorOrTensors, create_graph: bool = False,
            strict: bool = False, vectorize: bool = False) -> Any:  # fmt: skip
    """∂²func(*inputs)/∂inputsᵢ∂inputsⱼ of a function whose value is one number.

    Several inputs give a tuple of tuples. Zeros and `strict` are as in `jacobian`.
    """

    def number(*xs):
        y = func(*xs)
        if not isinstance(y, Tensor) or y.numel() != 1:
            raise RuntimeError(f"hessian: func returns a tensor of one number, got {_described(y)}")
        return y.reshape(())

    def gradient(*xs):
        return jacobian(number, xs[0] if isinstance(inputs, Tensor) else xs, True, strict)

    return jacobian(gradient, inputs, create_graph, strict)


def vjp(func: Callable[..., Any], inputs: TensorOrTensors, v: Any = None,
        create_graph: bool = False, strict: bool = False) -> Any:  # fmt: skip
    """func(*inputs), and vᵀ ∂func/∂inputs; v may be left out where the result is one number.

    Zeros where no result depends on an input: `strict` raises RuntimeError there.
    """
    xs = _to_differentiate(inputs, create_graph)
    with autograd.enable_grad():
        results = func(*xs)
        ys = _several("vjp", "func's results are", results)
        if v is None and (len(ys) != 1 or ys[0].numel() != 1):
            raise RuntimeError(
                f"vjp: v is needed for more than one number, got {_described(results)}"
            )
        vs = (None,) if v is None else _several("vjp", "v is", v)
        if v is not None and [y.shape for y in ys] != [v.shape for v in vs]:
            raise RuntimeError(
                f"vjp: v needs the shapes of {_described(results)}, got {_described(v)}"
            )
        found = _derivatives("vjp", ys, vs, xs, create_graph, strict)
    if not create_graph:
        ys = [y.detach() for y in ys]
    return (
        tuple(ys) if isinstance(results, tuple) else ys[0],
        found[0] if isinstance(inputs, Tensor) else tuple(found),
    )


def _to_differentiate(inputs, create_graph):
    """Tensors that are the inputs, each for itself; without their history unless it goes on."""
    xs = _several("autograd.functional", "inputs are", inputs)
    if create_graph:
        return [x.view_as(x) for x in xs]
    return [x.detach().clone().requires_grad_() for x in xs]


def _several(name, what, given):
    """A tensor, or a tuple of them, as a tuple."""
    tensors = (given,) if isinstance(given, Tensor) else given
    if not isinstance(tensors, tuple) or not all(isinstance(t, Tensor) for t in tensors):
        raise TypeError(f"{name}: {what} a tensor or a tuple of tensors, got {_described(given)}")
    return tensors


def _described(value):
    """A value in an error: the shape of a tensor, else what it is."""
    if isinstance(value, tuple):
        return f"a tuple of {', '.join(map(_described, value)) or 'nothing'}"
    return f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__


def _derivatives(name, ys, vs, xs, create_graph, strict):
    """Σ vᵀ ∂y/∂x for each x; zeros where no y depends on it, unless that is refused."""
    live = [(y, v) for y, v in zip(ys, vs) if y.requires_grad]
    found = [None] * len(xs)
    if live:
        ys_live, vs = zip(*live)
        found = autograd.grad(
            ys_live, xs, vs, retain_graph=True, create_graph=create_graph, allow_unused=True
        )
    if strict:
        alone = [i for i, g in enumerate(found) if g is None or create_graph > g.requires_grad]
        if alone or len(live) < len(ys):
            what = f"input {alone[0]}" if alone else "the inputs"
            raise RuntimeError(
                f"{name}: a result, or its derivative, does not depend on {what}; without "
                "strict=True zeros are given"
            )
    return [zeros_like(x) if g is None else g for g, x in zip(found, xs)]
