"""Compiled products of a few rows with the weights of `weights.py`, each row by itself, and
attention of a batch of texts, each of a length of its own.

The order of the sums is written down: 16 partial sums, number k going to the sum k mod 16; these
added in pairs; then what is left of a row. It is the same for one row and for four at a time, which
share the work of reading a weight, so that a row's result is the same to the last bit whatever
other rows there are. Vectors of LLVM say that order: a compiler that vectorises loops by itself
would choose one for each loop.
"""

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .numba_cache import compiled
from .numba_kernels import _softmax_row
from .numba_kernels import kernel as fast_kernel
from .preconditions import needs

LANES, AT_ONCE = 16, 4
FLOAT, BYTE, INT, SIZE = ir.FloatType(), ir.IntType(8), ir.IntType(32), ir.IntType(64)
f32 = np.float32

kernel = compiled(error_model="numpy")  # not fastmath, which would change the order of the sums


# ---- pieces of code, made with LLVM's builder `b` ----------------------------------------


def _constant(kind, value, lanes):
    return ir.Constant(ir.VectorType(kind, lanes), [value] * lanes)


def _array(context, b, signature, args, i):
    """Argument i, an array in row-major order: its memory and its row length."""
    array = context.make_array(signature.args[i])(context, b, args[i])
    return array.data, b.extract_value(array.shape, 1)


def _row(b, array, i):
    """The address at which row i of an array begins."""
    data, length = array
    return b.gep(data, [b.mul(i, length)])


def _load(b, row, k, lanes):
    """The numbers from k on of a row, as they are."""
    place = b.gep(row, [k])
    kind = place.type.pointee
    if lanes > 1:
        place = b.bitcast(place, ir.VectorType(kind, lanes).as_pointer())
    return b.load(place, align=1 if kind == BYTE else 4)


def _floats(b, value, signed=True):
    """Numbers as float32."""
    kind = getattr(value.type, "element", value.type)
    if kind == FLOAT:
        return value
    wanted = ir.VectorType(FLOAT, value.type.count) if kind is not value.type else FLOAT
    return (b.sitofp if signed else b.uitofp)(value, wanted)


def _zeros(b, rows):
    """Memory for the partial sums of each row, which are zero now."""
    places = [cgutils.alloca_once(b, ir.VectorType(FLOAT, LANES)) for _ in range(rows)]
    for place in places:
        b.store(_constant(FLOAT, 0.0, LANES), place)
    return places


def _add_products(b, sums, factors, weight):
    """Add to each sum its factor times the weight."""
    together = ("contract",)  # in one instruction, with one rounding, where there is one
    for place, factor in zip(sums, factors):
        product = b.fmul(factor, weight, flags=together)
        b.store(b.fadd(b.load(place), product, flags=together), place)


def _totals(b, sums):
    """Memory that holds the sum of each row's partial sums, which are added in pairs."""
    totals = []
    for place in sums:
        value, width = b.load(place), LANES
        while width > 1:
            width //= 2
            halves = [
                b.shuffle_vector(
                    value,
                    ir.Constant(value.type, ir.Undefined),
                    ir.Constant(ir.VectorType(INT, width), [*range(start, start + width)]),
                )
                for start in (0, width)
            ]
            value = b.fadd(*halves)
        totals.append(cgutils.alloca_once_value(b, b.extract_element(value, INT(0))))
    return totals


def _loaded_tuple(context, b, signature, places):
    return context.make_tuple(b, signature.return_type, [b.load(place) for place in places])


# ---- dot products of rows of x, from `first` on, with row j of a weight ------------------


def _dot_products(rows):
    """The function for some rows, and a weight of int8 or float32."""

    @intrinsic
    def dot_products(typing, x, first, weight, j):
        def build(context, b, signature, args):
            given, length = (_array(context, b, signature, args, i) for i in (0, 2))
            xs = [_row(b, given, b.add(args[1], SIZE(i))) for i in range(rows)]
            w, sums = _row(b, length, args[3]), _zeros(b, rows)

            def add(places, k, lanes):
                factors = [_load(b, x, k, lanes) for x in xs]
                _add_products(b, places, factors, _floats(b, _load(b, w, k, lanes)))

            n = length[1]
            whole = b.sub(n, b.urem(n, SIZE(LANES)))
            with cgutils.for_range_slice(b, SIZE(0), whole, SIZE(LANES)) as (k, _):
                add(sums, k, LANES)
            totals = _totals(b, sums)
            with cgutils.for_range_slice(b, whole, n, SIZE(1)) as (k, _):
                add(totals, k, 1)
            return _loaded_tuple(context, b, signature, totals)

        results = types.UniTuple(types.float32, rows)
        return results(x, types.int64, weight, types.int64), build

    return dot_products


def _dot_products_int4(rows):
    """The function for some rows, and a weight of int4 with a scale for each group."""

    @intrinsic
    def dot_products_int4(typing, x, first, packed, scale, j):
        def build(context, b, signature, args):
            given, bytes_, scales = (_array(context, b, signature, args, i) for i in (0, 2, 3))
            xs = [_row(b, given, b.add(args[1], SIZE(i))) for i in range(rows)]
            w, s = _row(b, bytes_, args[4]), _row(b, scales, args[4])
            sums, size = _zeros(b, rows), b.udiv(bytes_[1], scales[1])  # bytes of a group
            with cgutils.for_range(b, scales[1]) as group:
                start, parts = b.mul(group.index, size), _zeros(b, rows)
                with cgutils.for_range_slice(b, start, b.add(start, size), SIZE(LANES)) as (k, _):
                    pairs = _load(b, w, k, LANES)
                    lower = b.and_(pairs, _constant(BYTE, 15, LANES))
                    upper = b.lshr(pairs, _constant(BYTE, 4, LANES))
                    for half, codes in enumerate((lower, upper)):
                        at = b.add(b.mul(k, SIZE(2)), SIZE(half * LANES))
                        middle = _constant(FLOAT, 8.0, LANES)
                        numbers = b.fsub(_floats(b, codes, signed=False), middle)
                        _add_products(b, parts, [_load(b, x, at, LANES) for x in xs], numbers)
                one = _load(b, s, group.index, 1)
                places = ir.Constant(ir.VectorType(INT, LANES), [0] * LANES)
                lane = b.insert_element(_constant(FLOAT, 0.0, LANES), one, INT(0))
                every = b.shuffle_vector(lane, lane, places)
                _add_products(b, sums, [b.load(part) for part in parts], every)
            return _loaded_tuple(context, b, signature, _totals(b, sums))

        results = types.UniTuple(types.float32, rows)
        return results(x, types.int64, packed, scale, types.int64), build

    return dot_products_int4


_one, _four = _dot_products(1), _dot_products(AT_ONCE)
_one_int4, _four_int4 = _dot_products_int4(1), _dot_products_int4(AT_ONCE)


# ---- the loops -----------------------------------------------------------------------


@kernel
def float_linear(x, weight, bias, y):
    needs("float_linear: x (r, n), weight (m, n), bias? (m) -> y (r, m)", x, weight, bias, y)
    x, weight = np.ascontiguousarray(x), np.ascontiguousarray(weight)
    full = x.shape[0] // AT_ONCE * AT_ONCE
    for j in range(weight.shape[0]):
        add = f32(0) if bias is None else bias[j]
        for r in range(0, full, AT_ONCE):
            sums = _four(x, r, weight, j)
            for i in range(AT_ONCE):
                y[r + i, j] = sums[i] + add
        for r in range(full, x.shape[0]):
            y[r, j] = _one(x, r, weight, j)[0] + add


@kernel
def int8_linear(x, weight, scale, bias, y):
    needs("int8_linear: x (r, n), weight (m, n) of int8, scale (m), bias? (m) -> y (r, m)",
          x, weight, scale, bias, y)  # fmt: skip
    x, weight = np.ascontiguousarray(x), np.ascontiguousarray(weight)
    full = x.shape[0] // AT_ONCE * AT_ONCE
    for j in range(weight.shape[0]):
        add = f32(0) if bias is None else bias[j]
        for r in range(0, full, AT_ONCE):
            sums = _four(x, r, weight, j)
            for i in range(AT_ONCE):
                y[r + i, j] = sums[i] * scale[j] + add
        for r in range(full, x.shape[0]):
            y[r, j] = _one(x, r, weight, j)[0] * scale[j] + add


@kernel
def int4_linear(x, packed, scale, bias, y):
    needs("int4_linear: x (r, n), packed (m, h) of uint8, scale (m, g), bias? (m) -> y (r, m)",
          x, packed, scale, bias, y)  # fmt: skip
    groups = scale.shape[1]
    if x.shape[1] != 2 * packed.shape[1] or groups == 0 or packed.shape[1] % (groups * LANES) != 0:
        raise RuntimeError("int4_linear: a row must be groups of 32 numbers, or 64, 96 …")
    x, packed = np.ascontiguousarray(x), np.ascontiguousarray(packed)
    scale = np.ascontiguousarray(scale)
    full = x.shape[0] // AT_ONCE * AT_ONCE
    for j in range(packed.shape[0]):
        add = f32(0) if bias is None else bias[j]
        for r in range(0, full, AT_ONCE):
            sums = _four_int4(x, r, packed, scale, j)
            for i in range(AT_ONCE):
                y[r + i, j] = sums[i] + add
        for r in range(full, x.shape[0]):
            y[r, j] = _one_int4(x, r, packed, scale, j)[0] + add


# ---- attention -----------------------------------------------------------------------


@fast_kernel
def batch_attention(q, k, v, rows, starts, scale, keys, values, scores, out):
    """One query for each head of text i, to its starts[i] keys and its own; `scores` is scratch."""
    needs("batch_attention: q (B, 1, H, D), k (B, 1, G, D), v (B, 1, G, D), rows (B) of integers, "
          "starts (B) of integers "
          "-> keys (R, G, L, D), values (R, G, L, D), scores (L), out (B, H, D)",
          q, k, v, rows, starts, keys, values, scores, out)  # fmt: skip
    B, _, H, D = q.shape
    R, G, L = keys.shape[:3]
    if G == 0 or H % G != 0:
        raise RuntimeError("attention: the heads of queries must share those of keys evenly")
    for b in range(B):
        r, S = rows[b], starts[b]
        if not 0 <= r < R or not 0 <= S < L:
            raise IndexError("attention: a token lies outside the room of the cache")
        for h in range(G):
            keys[r, h, S], values[r, h, S] = k[b, 0, h], v[b, 0, h]
        row = scores[: S + 1]
        for h in range(H):
            one, total = q[b, 0, h], out[b, h]
            key, value = keys[r, h // (H // G)], values[r, h // (H // G)]
            for j in range(S + 1):
                score = f32(0)
                for d in range(D):
                    score += one[d] * key[j, d]
                row[j] = score * f32(scale)
            _, mass = _softmax_row(row, row)
            total[:] = f32(0)
            for j in range(S + 1):
                row[j] /= mass
                for d in range(D):
                    total[d] += row[j] * value[j, d]
