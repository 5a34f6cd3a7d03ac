"""PyTorch's names of nodes: what programs that draw a graph, or print a tensor, expect to read."""

import functools

from ..backends.naming import PACKAGE

BACKWARD = {  # where PyTorch's name of an operation's backward is not made of ours
    "amax": "MaxBackward1", "amin": "MinBackward1", "cast": "ToCopyBackward0",
    "cross_entropy": "NllLossBackward0", "layer_norm": "NativeLayerNormBackward0",
    "linear": "AddmmBackward0", "matmul": "MmBackward0", "reshape": "ViewBackward0",
    "attention": "ScaledDotProductFlashAttentionForCpuBackward0", "clamp": "ClampBackward1",
    "det": "LinalgDetBackward0", "dropout": "MulBackward0", "inv": "LinalgInvExBackward0",
    "logsigmoid": "LogSigmoidBackward0", "max_pool": "MaxPool2DWithIndicesBackward0",
    "solve": "LinalgSolveExBackward0", "square": "PowBackward0",
    "setitem": "CopySlices", "vector_norm": "LinalgVectorNormBackward0",
}  # fmt: skip


def backward_name(node):
    """PyTorch's name of a node. Where it has several for one of ours, the most frequent one."""
    name = node.op.op_name
    if not callable(node.op):  # a Function of one's own
        return name + "Backward"
    if name == "getitem" and node.args:
        index = node.args[1]
        parts = index if isinstance(index, tuple) else (index,)
        if any(hasattr(part, "dtype") for part in parts):
            return "IndexBackward0"
        kinds = {int: "SelectBackward0", slice: "SliceBackward0", type(None): "UnsqueezeBackward0"}
        found = [kinds.get(type(part)) for part in parts if part not in (..., slice(None))]
        return found[-1] if found else "AliasBackward0"
    if (
        name in ("sum", "mean", "prod")
        and (*node.args[1:], *node.params.values(), None)[0] is not None
    ):
        return f"{name.title()}Backward1"  # along a dim
    if name in ("matmul", "pow", "reshape") and node.args:
        return _by_inputs(name, node.args, node.params)
    return BACKWARD.get(name) or name.title().replace("_", "") + "Backward0"


def _by_inputs(name, args, params):
    """The name of an operation that is several in PyTorch."""
    shapes = [tuple(getattr(a, "shape", ())) for a in args[:2]]
    if name == "pow":  # a number as the exponent, as the base, or neither
        numbers = [not hasattr(a, "dtype") for a in args[:2]]
        return f"PowBackward{0 if numbers[1:] == [True] or params else 2 if numbers[0] else 1}"
    if name == "matmul":
        kinds = {(1, 1): "Dot", (2, 1): "Mv", (2, 2): "Mm", (3, 3): "Bmm"}
        return kinds.get(tuple(map(len, shapes)), "UnsafeView") + "Backward0"
    before, after = shapes[0], tuple([*args[1:], *params.values()][0])
    if [n for n in before if n != 1] == [n for n in after if n != 1] and -1 not in after:
        if len(after) == len(before) + 1:
            return "UnsqueezeBackward0"
        if len(after) < len(before):
            return "SqueezeBackward1"
    return "ViewBackward0"


def shown(node):
    """A node as a program sees it: within `compat.as_torch()` its class has PyTorch's name."""
    if PACKAGE[0] == "torch" and type(node).__name__ == "Node":
        node.__class__ = _named(type(node), backward_name(node))
    return node


@functools.cache
def _named(kind, name):
    """The class of nodes whose name is PyTorch's."""
    return type(name, (kind,), {"__slots__": (), "name": lambda self: name})
