"""Pullbacks against central differences: whether derivatives are right."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

from ..backends import xp
from ..backends.promotion import is_float
from ..typing import Tensor, TensorOrTensors
from .base import TensorBase, as_list
from .engine import grad
from .modes import enable_grad


def gradcheck(func: Callable[..., Any], inputs: TensorOrTensors, eps: float = 1e-6,
              atol: float = 1e-5, rtol: float = 1e-3, raise_exception: bool = True,
              nondet_tol: float = 0.0, *, fast_mode: bool = False) -> bool:  # fmt: skip
    """Compare the pullbacks with central differences, (f(x + eps) − f(x − eps)) / 2 eps.

    `inputs` are float64 tensors; those that require a gradient are checked. Returns True, or raises
    RuntimeError naming the input, the element and both numbers (without raise_exception: False).
    Every element is checked, in fast_mode too; backward gives the same each time, so that there is
    nothing for nondet_tol to allow.
    """
    inputs = tuple(as_list(inputs))
    checked = [t for t in inputs if isinstance(t, TensorBase) and t._needs_grad]
    if not checked:
        raise ValueError("gradcheck: no input requires a gradient")
    for t in checked:
        if t._data.dtype != xp(t._data).float64:
            raise ValueError(f"gradcheck: float64 inputs are needed, got {t.dtype}")
    try:
        _compare(func, inputs, checked, eps, atol, rtol)
    except RuntimeError:
        if raise_exception:
            raise
        return False
    return True


def _compare(function, inputs, checked, eps, atol, rtol):
    def outputs():
        return [o for o in as_list(function(*inputs)) if is_float(o._data)]

    for o, out in enumerate(outputs()):
        if out._needs_grad:
            rows = [_derivatives(out, i, checked) for i in range(out.numel())]
        else:
            rows = [[_zeros(t) for t in checked]] * out.numel()
        for k, t in enumerate(checked):
            numeric = _differences(lambda o=o: outputs()[o]._data, t._data, eps)
            for i, index in itertools.product(range(out.numel()), numeric):
                a, n = float(rows[i][k][index]), float(numeric[index][i])
                if not abs(a - n) <= atol + rtol * abs(n):
                    which = next(j for j, other in enumerate(inputs) if other is t)
                    raise RuntimeError(
                        f"gradcheck: d output {o}[{i}] / d input {which}{list(index)} is {a:.8g} "
                        f"by the pullbacks and {n:.8g} by central differences"
                    )


def _zeros(t):
    return xp(t._data).zeros_like(t._data)


def _derivatives(out, i, inputs):
    """The derivatives of element i of `out` with respect to each input, as arrays."""
    ones = xp(out._data).zeros(out.numel(), dtype=out._data.dtype)
    ones[i] = 1.0
    seed = out._wrap(xp(out._data).reshape(ones, tuple(out._data.shape)))
    grads = grad(out, inputs, seed, retain_graph=True, allow_unused=True)
    return [_zeros(t) if g is None else g._data for t, g in zip(inputs, grads)]


def _differences(function, array, eps):
    """{index: central differences of every element of function() along array[index]}"""
    out = {}
    for index in itertools.product(*map(range, array.shape)):
        before = float(array[index])
        array[index] = before + eps
        above = xp(array).asarray(function(), copy=True)  # it may show the array that is changed
        array[index] = before - eps
        below = function()
        out[index] = xp(above).reshape((above - below) / (2 * eps), (-1,))
        array[index] = before
    return out


def gradgradcheck(func: Callable[..., Any], inputs: TensorOrTensors,
                  grad_outputs: Sequence[Tensor] | None = None, eps: float = 1e-6,
                  atol: float = 1e-5, rtol: float = 1e-3, gen_non_contig_grad_outputs: bool = False,
                  raise_exception: bool = True, nondet_tol: float = 0.0, *,
                  fast_mode: bool = False) -> bool:  # fmt: skip
    """`gradcheck` of the derivatives of `func`: the second derivatives."""
    inputs = tuple(as_list(inputs))
    with enable_grad():
        outs = [o for o in as_list(func(*inputs)) if o._needs_grad]
    if not outs:
        return True
    if grad_outputs is None:  # any fixed weights that are not all alike
        grad_outputs = []
        for o in outs:
            ramp = xp(o._data).arange(o.numel(), dtype=o._data.dtype) * 0.37 + 0.5
            w = o._wrap(xp(o._data).reshape(ramp % 1.7 - 0.6, tuple(o._data.shape)))
            w.requires_grad_()
            grad_outputs.append(w)
    checked = [t for t in inputs if isinstance(t, TensorBase) and t._needs_grad]
    weights = as_list(grad_outputs)

    def first(*_):
        with enable_grad():
            outs = [o for o in as_list(func(*inputs)) if o._needs_grad]
        grads = grad(outs, checked, weights, create_graph=True, allow_unused=True)
        return [g for g in grads if g is not None]

    return gradcheck(first, (*checked, *weights), eps, atol, rtol, raise_exception)
