"""Print tensors with shape and dtype, or, within `compat.as_torch()`, in PyTorch's format."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..backends.dtypes import bool_, get_default_dtype, int64
from ..backends.naming import PACKAGE
from ..typing import Tensor

OPTIONS = {"precision": 4, "threshold": 1000, "edgeitems": 3, "linewidth": 80, "sci_mode": None}
PROFILES = {"default": {**OPTIONS}, "short": {**OPTIONS, "precision": 2, "edgeitems": 2}}
PROFILES["full"] = {**OPTIONS, "threshold": math.inf}


def set_printoptions(profile: str | None = None, **options: Any) -> None:
    """Digits after the point (precision), elements before "…" (threshold, edgeitems), linewidth.

    `sci_mode` True always writes 1.0000e+00, False never, None by need. Profiles are "default",
    "short" and "full".
    """
    unknown = set(options) - set(OPTIONS)
    if unknown:
        raise TypeError(f"set_printoptions: {sorted(unknown)} are not among {sorted(OPTIONS)}")
    OPTIONS.update({**PROFILES.get(profile, {}), **options})


def show(x: Tensor) -> str:
    """The text of a tensor."""
    return _as_pytorch(x) if PACKAGE[0] == "torch" else _with_shape(x)


def _with_shape(x):
    """tensor([[1., 2.]], shape=(1, 2), dtype=float32, grad_fn=<add>)"""
    name = _name(x)
    exponents = {"float_kind": lambda v: f"{v:.{OPTIONS['precision']}e}"}
    values = np.array2string(
        x._as_numpy(),
        separator=", ",
        prefix=name + "(",
        floatmode="maxprec_equal" if x.ndim else "maxprec",
        max_line_width=OPTIONS["linewidth"],
        suppress_small=OPTIONS["sci_mode"] is False,
        formatter=exponents if OPTIONS["sci_mode"] else None,
        **{k: OPTIONS[k] for k in ("precision", "threshold", "edgeitems")},
    )
    about = [f"shape={tuple(x.shape)}"] if x.ndim else []
    about.append(f"dtype={x.dtype.name}")
    if x.device.type != "cpu":
        about.append(f"device={x.device}")
    if x.grad_fn is not None:
        about.append(f"grad_fn={x.grad_fn!r}")
    elif x.requires_grad:
        about.append("requires_grad=True")
    about = ", ".join(about)
    last = values.rsplit("\n", 1)[-1]
    end = ",\n" + " " * (len(name) + 1) if len(last) + len(about) > OPTIONS["linewidth"] else ", "
    return f"{name}({values}{end}{about})"


def _name(x):
    name = type(x).__name__
    return "tensor" if name == "Tensor" else name


# ---- PyTorch's format ----------------------------------------------------------------


def _as_pytorch(x):
    """tensor([[1., 2.]], grad_fn=<AddBackward0>): dtype and device only where not the default."""
    name, values, about = _name(x), x._as_numpy(), []
    head, name = ("Parameter containing:\n", "tensor") if name == "Parameter" else ("", name)
    if x.device.type != "cpu":
        about.append(f"device='{x.device}'")
    if not values.size and x.ndim != 1:
        about.append(f"size={tuple(x.shape)}")
    usual = get_default_dtype(), *((int64, bool_) if values.size else ())
    if x.dtype not in usual:
        about.append(f"dtype={x.dtype}")
    if x.grad_fn is not None:
        about.append(f"grad_fn=<{_backward(x.grad_fn)}>")
    elif x.requires_grad:
        about.append("requires_grad=True")
    indent = len(name) + 1
    text = f"{name}({_elements(values, indent) if values.size else '[]'}"
    width = len(text) - text.rfind("\n") + 1
    for part in about:
        if width + len(part) + 2 > OPTIONS["linewidth"]:
            text, width = f"{text},\n{' ' * indent}{part}", indent + len(part)
        else:
            text, width = f"{text}, {part}", width + len(part) + 2
    return f"{head}{text})"


BACKWARD = {  # PyTorch's names of backward nodes that do not follow from our operation's name
    "amax": "MaxBackward1", "amin": "MinBackward1", "cast": "ToCopyBackward0",
    "cross_entropy": "NllLossBackward0", "layer_norm": "NativeLayerNormBackward0",
    "linear": "AddmmBackward0", "matmul": "MmBackward0", "reshape": "ViewBackward0",
    "setitem": "CopySlices", "vector_norm": "LinalgVectorNormBackward0",
}  # fmt: skip


def _backward(node):
    """PyTorch's name of a node: the most frequent one where it has several for one of ours."""
    name = node.name()
    if not callable(node.op):  # a user's Function
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
    return BACKWARD.get(name) or name.title().replace("_", "") + "Backward0"


def _elements(values, indent):
    """The elements in nested brackets, all equally wide; for many, only the first and last."""
    short, edge = values.size > OPTIONS["threshold"], OPTIONS["edgeitems"]
    ends_of = [
        np.r_[:edge, n - edge : n] if short and n > 2 * edge else np.arange(n)
        for n in values.shape
    ]  # fmt: skip
    write, width = _writer(values[np.ix_(*ends_of)])

    def ends(part):
        return [*part[:edge], *part[len(part) - edge :]] if short and len(part) > 2 * edge else part

    def nested(part, indent):
        if not part.ndim:
            return write(part.item())
        rows = [nested(row, indent + 1) for row in ends(part)]
        if len(rows) < len(part):
            rows.insert(edge, " ..." if part.ndim == 1 else "...")
        if part.ndim == 1:
            per_line = max(1, (OPTIONS["linewidth"] - indent) // (width + 2))
            rows = [", ".join(rows[i : i + per_line]) for i in range(0, len(rows), per_line)]
        return "[" + ("," + "\n" * max(1, part.ndim - 1) + " " * (indent + 1)).join(rows) + "]"

    return nested(values, indent)


def _writer(values):
    """(a function that formats a number as PyTorch does among `values`, the width it pads to)."""
    if values.dtype.kind != "f":
        width = max(len(str(v)) for v in values.ravel().tolist())
        return (lambda v: str(v).rjust(width)), width
    precision, mode = OPTIONS["precision"], OPTIONS["sci_mode"]
    finite = values[np.isfinite(values) & (values != 0)].astype(np.float64)
    size = np.abs(finite)
    whole = bool((size == np.ceil(size)).all())
    apart = size.size and (size.max() / size.min() > 1000 or size.max() > 1e8)
    apart = apart or not whole and size.min() < 1e-4
    scientific = apart if mode is None else mode and size.size

    def write(v):
        if scientific:
            return f"{v:.{precision}e}"
        return f"{v:.{precision}f}" if not whole else f"{v:.0f}" + "." * math.isfinite(v)

    width = max((len(write(v)) for v in finite.tolist()), default=1)
    return (lambda v: write(v).rjust(width)), width
