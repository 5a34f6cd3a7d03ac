"""Read and write files as a whole."""

import contextlib
import errno
import os
import stat
from pathlib import Path


class LoadError(ValueError):
    """A file that cannot be loaded: damaged, incomplete, or of another kind."""


def read_whole(path):
    """The bytes of an ordinary file. OSError for a pipe or a device, which might never end."""
    with open(Path(path), "rb", opener=_without_waiting) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "cannot be read: not an ordinary file", str(path))
        return file.read()


def _without_waiting(path, flags):
    """Open a file; do not wait for a writer if it is a pipe."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0))


def write_whole(path, data, follow=True):
    """Write bytes to a file whole or not at all: see `whole_file`. OSError names the file."""
    with whole_file(path, follow) as file:
        file.write(data)


@contextlib.contextmanager
def whole_file(path, follow=True):
    """A file to write bytes to, which is at `path` at the end of the block, whole or not at all.

    A temporary file beside it is written first, then moved to `path`. Raises OSError naming the
    file; the previous file is then untouched, as it is after any other error in the block. If
    `path` is a symbolic link, the file that it leads to is written, as `open` does; without
    `follow` the link is replaced, which is right in a folder that came from somebody else.
    """
    target = Path(os.path.realpath(path) if follow else path)
    part = target.with_name(f".{os.urandom(8).hex()}.part")
    try:
        if target.exists() and not target.is_file() and (follow or not target.is_symlink()):
            raise OSError(errno.EINVAL, "not an ordinary file")
        try:
            with open(part, "xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, target)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        if error.errno is None or error.filename not in (None, str(part), str(target)):
            raise  # the error of a file that the block reads
        raise OSError(error.errno, f"cannot be written: {error.strerror}", str(path)) from error
    with contextlib.suppress(OSError):  # if a folder cannot be synced, the file is still whole
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
