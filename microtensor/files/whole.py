"""Files that are read and written as a whole."""

import contextlib
import errno
import os
import stat
from pathlib import Path


class LoadError(ValueError):
    """A file that cannot be loaded: damaged, cut short, or something else altogether."""


def read_whole(path):
    """The bytes of an ordinary file. OSError for a pipe or a device, which might never end."""
    with open(Path(path), "rb", opener=_without_waiting) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "cannot be read: not an ordinary file", str(path))
        return file.read()


def _without_waiting(path, flags):
    """Open a file, without waiting for someone to write where it is a pipe."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0))


def write_whole(path, data, follow=True):
    """Write bytes to a file whole or not at all: see `whole_file`. OSError names the file."""
    with whole_file(path, follow) as file:
        file.write(data)


@contextlib.contextmanager
def whole_file(path, follow=True):
    """A file to write bytes to, that is at `path` when the block has ended, whole or not at all.

    It is written beside it first, then moved over it. Raises OSError naming the file; what was
    there before is then untouched, as it is after any other error in the block. Where `path` is a
    symbolic link, the file that it leads to is written, as `open` does; without `follow` the link
    is replaced, which is right in a folder that came from somebody else.
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
            raise  # it is about what the block wanted to read
        raise OSError(error.errno, f"cannot be written: {error.strerror}", str(path)) from error
    with contextlib.suppress(OSError):  # where a folder cannot be synced, the file is still whole
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
