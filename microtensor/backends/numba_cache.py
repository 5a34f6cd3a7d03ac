"""numba's disk cache, made so that it never stands in the way of an operation.

What is wrong with a cache (a folder that cannot be written, a full disk, a damaged file) costs the
time to compile again, and one warning; it is never an error. Compiling itself happens where no
signal can cut it short, since numba does not recover from a half-done import or compilation.

What is in a cache is run: whoever can write into one can do what its user can. So the files are in
a folder of their own, and read only if it and they belong to this user and nobody else can write
them.
"""

import contextlib
import hashlib
import io
import os
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
        stamp = self._cache_file._source_stamp
        self.folder = os.path.join(self.cache_path, "microtensor")
        self._cache_file = _Files(self.folder, self._impl.filename_base, stamp)

    def load_overload(self, sig, target_context):
        try:
            return super().load_overload(sig, target_context)
        except Exception as error:
            if isinstance(error, _OthersMayWrite):
                _without_cache(error)
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
            data = io.BytesIO(self._read(self._index_path))
            if pickle.load(data) == self._version:
                stamp, overloads = pickle.load(data)
                return overloads if stamp == self._source_stamp else {}
        except _OthersMayWrite:
            raise
        except Exception:  # there is none yet, or it is damaged
            pass
        return {}

    def _save_data(self, name, data):
        data = self._dump(data)
        with self._open_for_write(self._data_path(name)) as file:
            file.write(hashlib.sha256(data).digest() + data)

    def _load_data(self, name):
        data = self._read(self._data_path(name))
        digest, data = data[:DIGEST], data[DIGEST:]
        if hashlib.sha256(data).digest() != digest:
            raise ValueError(f"{name} is damaged")
        return pickle.loads(data)

    def _read(self, path):
        """The bytes of a file that, as its folder, nobody but this user can write."""
        with open(path, "rb") as file:
            _refuse_unless_own(os.stat(self._cache_path), self._cache_path)
            _refuse_unless_own(os.fstat(file.fileno()), path)
            return file.read()

    @contextlib.contextmanager
    def _open_for_write(self, path):
        os.makedirs(self._cache_path, 0o700, exist_ok=True)
        _refuse_unless_own(os.stat(self._cache_path), self._cache_path)
        with super()._open_for_write(path) as file:
            if hasattr(os, "fchmod"):
                os.fchmod(file.fileno(), 0o600)
            yield file


class _OthersMayWrite(Exception):
    """A cache into which others may have put code of theirs."""


def _refuse_unless_own(status, path):
    if os.name == "posix" and (status.st_uid != os.geteuid() or status.st_mode & 0o022):
        raise _OthersMayWrite(f"{path} may be written by others, and what is in it would be run")


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
