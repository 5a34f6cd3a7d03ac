"""Functions of functions: derivatives, a function over a batch, a module with other parameters."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from typing import Any

from .. import autograd, ops
from ..autograd.calls import public_names
from ..nn.module import Module
from ..tensor import Tensor
from ..tensor.creation import zeros_like
from ..utils._pytree import tree_flatten, tree_leaves, tree_map, tree_unflatten


def functional_call(module: Module, parameter_and_buffer_dicts: Any, args: Any = None,
                    kwargs: dict[str, Any] | None = None, *, tie_weights: bool = True,
                    strict: bool = False) -> Any:  # fmt: skip
    """module(*args, **kwargs) with these tensors, by name, in place of its own.

    One dict, or several. A shared parameter is replaced under all its names, unless told otherwise;
    with `strict` the names must be all that there are.
    """
    dicts = parameter_and_buffer_dicts
    named = {}
    for given in [dicts] if isinstance(dicts, dict) else dicts:
        named.update(given)
    args = () if args is None else args if isinstance(args, tuple) else (args,)
    with _replaced(module, named, tie_weights, strict):
        return module(*args, **(kwargs or {}))


@contextlib.contextmanager
def _replaced(module, named, tie_weights, strict):
    """The module with other parameters and buffers for a while."""
    own = {}  # name: the dict of a module that holds it, and its name there
    for path, part in module.named_modules(remove_duplicate=False):
        for registry in (part._parameters, part._buffers):
            for name, value in registry.items():
                if value is not None:
                    own[f"{path}.{name}" if path else name] = registry, name
    unknown, left = set(named) - set(own), set(own) - set(named)
    if unknown or strict and left:
        raise RuntimeError(
            f"functional_call: {type(module).__name__} has no {sorted(unknown)}"
            if unknown
            else f"functional_call: nothing is given for {sorted(left)}"
        )
    before = {name: registry[key] for name, (registry, key) in own.items()}
    if tie_weights:
        given = {id(before[name]): value for name, value in named.items()}
        named = {name: given[id(t)] for name, t in before.items() if id(t) in given} | named
    try:
        for name, value in named.items():
            registry, key = own[name]
            registry[key] = value
        yield
    finally:
        for name, (registry, key) in own.items():
            registry[key] = before[name]


def grad_and_value(
    func: Callable[..., Any], argnums: Any = 0, has_aux: bool = False
) -> Callable[..., Any]:
    """A function that gives the derivatives of func's one number, and that number.

    Derivatives of argument `argnums`, or of several, each a tensor or a tree of tensors. With
    `has_aux`, func returns (number, anything), and the result is (derivatives, (number, anything)).
    """

    @functools.wraps(func)
    def call(*args, **kwargs):
        several = isinstance(argnums, tuple)
        numbers = argnums if several else (argnums,)
        outer = any(isinstance(t, Tensor) and t.requires_grad for t in tree_leaves(args))
        fresh = ops.clone if outer else lambda t: t.detach().requires_grad_()
        with autograd.enable_grad():
            args = [tree_map(fresh, a) if i in numbers else a for i, a in enumerate(args)]
            leaves, spec = tree_flatten(tuple(args[i] for i in numbers))
            result = func(*args, **kwargs)
            value = result[0] if has_aux else result
            if value.requires_grad:
                found = autograd.grad(value, leaves, create_graph=outer, materialize_grads=True)
            else:  # of a number that depends on none of them
                found = [zeros_like(t) for t in leaves]
        if not outer:
            result = tree_map(lambda t: t.detach() if isinstance(t, Tensor) else t, result)
        grads = tree_unflatten(found, spec)
        return grads if several else grads[0], result

    return call


def grad(func: Callable[..., Any], argnums: Any = 0, has_aux: bool = False) -> Callable[..., Any]:
    """A function that gives the derivatives of func's one number; with `has_aux`, a pair."""
    both = grad_and_value(func, argnums, has_aux)

    @functools.wraps(func)
    def call(*args, **kwargs):
        grads, result = both(*args, **kwargs)
        return (grads, result[1]) if has_aux else grads

    return call


def vmap(func: Callable[..., Any], in_dims: Any = 0, out_dims: Any = 0, randomness: str = "error",
         *, chunk_size: Any = None) -> Callable[..., Any]:  # fmt: skip
    """A function that calls func for each slice of its arguments and stacks what it returns.

    `in_dims` says along which dimension an argument is sliced, None for one that is given whole,
    and `out_dims` where the results are stacked: one number for all, or a tree of them. A loop:
    it is as fast as func is, call by call, and each call draws random numbers of its own.
    """

    @functools.wraps(func)
    def call(*args, **kwargs):
        leaves, spec = tree_flatten(args)
        dims = _spread(in_dims, args)
        sizes = {x.shape[d] for x, d in zip(leaves, dims) if d is not None}
        if len(sizes) != 1:
            raise ValueError(f"vmap: the sliced dimensions need one size, got {sorted(sizes)}")
        results = [
            func(*tree_unflatten([x if d is None else x.select(d, i) for x, d in zip(leaves, dims)],
                                 spec), **kwargs)
            for i in range(sizes.pop())
        ]  # fmt: skip
        parts, spec = zip(*map(tree_flatten, results))
        outs = _spread(out_dims, results[0])
        return tree_unflatten([ops.stack(p, d) for p, d in zip(zip(*parts), outs)], spec[0])

    return call


def _spread(dims, tree):
    """A dimension for each leaf of a tree: dims is one for all, or a tree as far as it goes."""
    if dims is None or isinstance(dims, int):
        return [dims] * len(tree_leaves(tree))
    values = tree.values() if isinstance(tree, dict) else tree
    dims = [dims[k] for k in tree] if isinstance(dims, dict) else dims
    return [d for dim, part in zip(dims, values) for d in _spread(dim, part)]


def jacrev(func: Callable[..., Any], argnums: Any = 0, *, has_aux: bool = False,
           chunk_size: int | None = None) -> Callable[..., Any]:  # fmt: skip
    """A function that gives ∂func/∂argument `argnums`, of the result's shape and then its own.

    Arguments and results may be trees of tensors: the derivative is a tree like the result, and in
    each place one like the argument, or a tuple of those for several `argnums`. With `has_aux` func
    returns (result, anything), and so does this. It can be applied again, for higher derivatives.
    """

    @functools.wraps(func)
    def call(*args, **kwargs):
        several = isinstance(argnums, tuple)
        numbers = argnums if several else (argnums,)
        with autograd.enable_grad():
            # tensors of their own, within the graph if there is one already
            outer = any(isinstance(t, Tensor) and t.requires_grad for t in tree_leaves(args))
            fresh = ops.clone if outer else lambda t: t.detach().requires_grad_()
            args = [tree_map(fresh, a) if i in numbers else a for i, a in enumerate(args)]
            leaves, spec = tree_flatten(tuple(args[i] for i in numbers))
            result = func(*args, **kwargs)
            result, aux = result if has_aux else (result, None)
            values, result_spec = tree_flatten(result)
            rows = [tree_unflatten(_rows(y, leaves, outer), spec) for y in values]
        found = tree_unflatten([row if several else row[0] for row in rows], result_spec)
        return (found, aux) if has_aux else found

    return call


def _rows(y, leaves, create_graph):
    """∂y/∂leaf for each leaf, of y's shape and then the leaf's."""
    parts = [
        autograd.grad(
            e, leaves, retain_graph=True, create_graph=create_graph, materialize_grads=True
        )
        if e.requires_grad
        else [zeros_like(x) for x in leaves]
        for e in y.reshape(-1)
    ]
    columns = zip(*parts) if parts else [[]] * len(leaves)
    return [
        ops.stack(list(column)).reshape(*y.shape, *x.shape)
        if column
        else x.new_zeros(*y.shape, *x.shape)
        for column, x in zip(columns, leaves)
    ]


def jacfwd(func: Callable[..., Any], argnums: Any = 0, has_aux: bool = False, *,
           randomness: str = "error") -> Callable[..., Any]:  # fmt: skip
    """`jacrev`, with the same result: derivatives are computed backward here, always."""
    return jacrev(func, argnums, has_aux=has_aux)


def hessian(func: Callable[..., Any], argnums: Any = 0) -> Callable[..., Any]:
    """A function that gives ∂²func/∂argument², of the result's shape and twice the argument's."""
    return jacrev(jacrev(func, argnums), argnums)


__all__ = ["functional_call", "grad", "grad_and_value", "hessian", "jacfwd", "jacrev", "vmap"]
public_names(globals(), __all__, strict=True)
