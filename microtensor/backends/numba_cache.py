"""numba's disk cache, made so that it never stands in the way of an operation.

What is wrong with a cache (a folder that cannot be written, a full disk, a damaged file) costs the
time to compile again, and one warning; it is never an error. Compiling itself happens where no
signal can cut it short, since numba does not recover from a half-done import or compilation.
"""

import hashlib
import pickle
import sys
import warnings

from numba import njit
from numba.core.caching import FunctionCache, IndexDataCacheFile

from .uninterrupted import uninterrupted

REORDER = {"contract", "arcp", "nsz", "reassoc"}  # sums in any order; NaN and ∞ keep their meaning
DIGEST = 32  # bytes of a SHA-256


def cached(loop):
    """A compiled function with a disk cache, where there can be one."""
    try:
        loop._cache = _Cache(loop.py_func)
    except Exception as error:  # no folder can be written
        _without_cache(error)
    compile_for_args = loop._compile_for_args
    loop._compile_for_args = lambda *args, **kws: uninterrupted(compile_for_args, *args, **kws)
    return loop


class _Cache(FunctionCache):
    """A cache whose faults are misses."""

    def __init__(self, function):
        super().__init__(function)
        files = self._cache_file
        self._cache_file = _Files(self.cache_path, self._impl.filename_base, files._source_stamp)

    def load_overload(self, sig, target_context):
        try:
            return super().load_overload(sig, target_context)
        except Exception:
            return None  # it is compiled again, and saved over what was there

    def save_overload(self, sig, data):
        try:
            super().save_overload(sig, data)
        except Exception as error:
            _without_cache(error)


class _Files(IndexDataCacheFile):
    """The files of one function; each says what it holds, and with which digest.

    Code that is not what was saved would crash the interpreter. Two processes that save different
    versions of one function at once may give both one file's name: then the key tells.
    """

    def save(self, key, data):
        super().save(key, (key, data))

    def load(self, key):
        found = super().load(key)
        return found[1] if found is not None and found[0] == key else None

    def _load_index(self):
        try:
            return super()._load_index()
        except Exception:
            return {}

    def _save_data(self, name, data):
        data = self._dump(data)
        with self._open_for_write(self._data_path(name)) as file:
            file.write(hashlib.sha256(data).digest() + data)

    def _load_data(self, name):
        with open(self._data_path(name), "rb") as file:
            digest, data = file.read(DIGEST), file.read()
        if hashlib.sha256(data).digest() != digest:
            raise ValueError(f"{name} is damaged")
        return pickle.loads(data)


def _without_cache(error):
    """Say once for each process that what is compiled now cannot be kept."""
    if _told:
        return
    _told.append(error)
    text = (
        f"the compiled loops cannot be kept on disk ({error}), so that each process compiles them "
        "anew; NUMBA_CACHE_DIR may name a folder that can be written"
    )
    try:
        warnings.warn(text, stacklevel=2)
    except UserWarning:  # warnings are errors here, and this is none: the loops work
        print(f"microtensor: {text}", file=sys.stderr)


_told = []


def compiled(**options):
    """A decorator that compiles a loop for the types of its arguments when they first come."""
    return lambda loop: cached(njit(nogil=True, **options)(loop))


kernel = compiled(error_model="numpy", fastmath=REORDER)
inlined = compiled(error_model="numpy", fastmath=REORDER, inline="always")
