"""Trees of tensors: lists, tuples, named tuples and dicts within each other, and their leaves."""

from __future__ import annotations

from collections import OrderedDict, defaultdict, namedtuple
from collections.abc import Callable
from typing import Any

MappingKey = namedtuple("MappingKey", "key")
_registered = {}  # {class: (flatten, unflatten)}


def register_pytree_node(cls: type, flatten_fn: Any, unflatten_fn: Any, **options: Any) -> None:
    """Register a class as a tree: flatten_fn(tree) gives its parts and a context, from which
    unflatten_fn(parts, context) rebuilds it. `options` are for PyTorch's exports.
    """
    if cls in _registered:
        raise ValueError(f"register_pytree_node: {cls.__name__} is registered already")
    _registered[cls] = flatten_fn, unflatten_fn


def _dict_flatten_with_keys(tree):
    """The parts of a dict by their keys, and its keys."""
    return [(MappingKey(key), value) for key, value in tree.items()], list(tree)


def _parts(tree):
    """The parts of a tree, and a function that rebuilds it from parts; (None, None) for a leaf.

    Everything but these containers is a leaf, also None.
    """
    kind = type(tree)
    if kind in _registered:
        flatten, unflatten = _registered[kind]
        parts, context = flatten(tree)
        return list(parts), lambda parts: unflatten(parts, context)
    if kind in (list, tuple):
        return list(tree), kind
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return list(tree), lambda parts: kind(*parts)
    if kind in (dict, OrderedDict, defaultdict):
        start = (tree.default_factory,) if kind is defaultdict else ()
        return list(tree.values()), lambda parts: kind(*start, zip(tree, parts))
    return None, None


class TreeSpec:
    """The structure of a tree, from which it is rebuilt with other leaves."""

    def __init__(self, build, children):
        self.build, self.children = build, children
        self.num_leaves = sum(c.num_leaves for c in children) if build else 1


def tree_flatten(tree: Any) -> tuple[list[Any], TreeSpec]:
    """(its leaves in order, its TreeSpec)"""
    parts, build = _parts(tree)
    if build is None:
        return [tree], TreeSpec(None, ())
    found = [tree_flatten(part) for part in parts]
    return [x for leaves, _ in found for x in leaves], TreeSpec(build, [spec for _, spec in found])


def tree_unflatten(leaves: Any, treespec: Any) -> Any:
    """The tree with these leaves. ValueError if they are too few or too many."""
    leaves = list(leaves)
    if len(leaves) != treespec.num_leaves:
        raise ValueError(
            f"tree_unflatten: the tree has {treespec.num_leaves} leaves, got {len(leaves)}"
        )
    return _grow(iter(leaves), treespec)


def _grow(leaves, spec):
    return next(leaves) if not spec.build else spec.build([_grow(leaves, c) for c in spec.children])


def tree_leaves(tree: Any) -> list[Any]:
    """The leaves in order."""
    return tree_flatten(tree)[0]


def tree_map(func: Callable[..., Any], tree: Any, *rests: Any) -> Any:
    """The tree of func(leaf, …): of one tree, or of several of one shape."""
    leaves, spec = tree_flatten(tree)
    return tree_unflatten(map(func, leaves, *(tree_leaves(rest) for rest in rests)), spec)
