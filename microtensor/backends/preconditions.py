"""Preconditions of the compiled loops: what each needs of its arrays, in one line at its top.

A loop reads and writes where it is told, without asking whether that lies within an array. So the
first thing that each does is `needs`: the dimensions and dtypes are checked when the loop is
compiled for arrays of new types, the sizes at every call, in compiled code and on the very arrays
that the loop then uses: no other thread can change them in between. Positions that come from an
array are checked by the loop itself, one by one, where it uses them.
"""

import re

from numba import types
from numba.extending import overload

TERM = re.compile(r"(\w+)(\??) ([(\[])([^)\]]*)[)\]](?: of (\w+))?")
DTYPES = {
    "": types.float32, "booleans": types.boolean, "integers": types.Integer, "int8": types.int8,
    "uint8": types.uint8,
}  # fmt: skip


def terms(rule):
    """The terms of a rule, one for each array: [(name, optional, sizes, any shape, kind, out)].

    A rule is "name: x (n, k), index (n) of integers, share? (n) -> y (n, k)". Equal letters are
    equal sizes, numbers are themselves. `x [k]` is an array of k elements in row-major order,
    whatever its shape. A name with "?" may be None. Elements are float32 unless it says otherwise.
    What stands after the arrow is written to.
    """
    found = []
    for part, out in zip(rule.split(": ", 1)[1].split(" -> "), (False, True)):
        for name, optional, bracket, sizes, kind in TERM.findall(part):
            sizes = re.split(r", *", sizes)
            found.append((name, bool(optional), sizes, bracket == "[", kind, out))
    return found


def needs(rule, a, b=None, c=None, d=None, e=None, f=None, g=None, h=None, i=None):
    """Raise RuntimeError in a compiled loop unless arrays fit a rule, TypeError for their types."""


@overload(needs, prefer_literal=True, inline="always")
def _needs(rule, a, b=None, c=None, d=None, e=None, f=None, g=None, h=None, i=None):
    arrays = dict(zip("abcdefghi", (a, b, c, d, e, f, g, h, i)))
    loop, demanded = rule.literal_value.split(": ", 1)
    known, wrong = {}, []
    for (array, type_), term in zip(arrays.items(), terms(rule.literal_value)):
        name, optional, sizes, flat, _, _ = term
        if optional and isinstance(type_, types.NoneType):
            continue
        if not _fits(type_, term):
            raise TypeError(f"{loop}: {demanded} must come in, got {name} as {type_}")
        for axis, size in enumerate(sizes):
            here = f"{array}.size" if flat else f"{array}.shape[{axis}]"
            if size.isdigit() or size in known:
                wrong.append(f"{here} != {known.get(size, size)}")
            else:
                known[size] = here
    optional = ", ".join(f"{name}=None" for name in "bcdefghi")
    source = f"def check(rule, a, {optional}):\n    pass\n"
    if wrong:
        told = f"{loop}: the sizes must be {demanded}"
        source += f"    if {' or '.join(wrong)}:\n        raise RuntimeError({told!r})\n"
    made = {}
    exec(source, made)  # of the letters and numbers of a rule, which are the project's own
    return made["check"]


def _fits(type_, term):
    """True if the type of an argument is what a term of a rule demands."""
    _, _, sizes, flat, kind, out = term
    if not isinstance(type_, types.Array) or out and not type_.mutable:
        return False
    if type_.layout != "C" if flat else type_.ndim != len(sizes):
        return False
    wanted = DTYPES[kind]
    return isinstance(type_.dtype, wanted) if kind == "integers" else type_.dtype == wanted
