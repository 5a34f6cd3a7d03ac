"""Files and folders that a person names: what is read is an ordinary file, and one program writes.

A program that is told to read a FIFO would wait for ever, and one that is told to read a device, or
some files of /proc, would never come to an end. So whatever path is given is read through here.
"""

import contextlib
import io
import json
import os
import stat
from pathlib import Path

import microtensor as mt
from microtensor.files.serialization import whole_file, write_whole

KINDS = {
    stat.S_IFDIR: "a folder", stat.S_IFIFO: "a FIFO", stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device", stat.S_IFSOCK: "a socket",
}  # fmt: skip


def opened(path, wanted="a file"):
    """An ordinary file, open for reading bytes, and how many it has.

    ValueError for anything else that has a path: `wanted` says what would be right. OSError if the
    file is missing, or may not be read. It never waits for another program.
    """

    def open_at_once(name, flags):
        insist(os.stat(name))  # opening a device may have an effect already
        descriptor = os.open(name, flags | getattr(os, "O_NONBLOCK", 0))
        try:
            insist(os.fstat(descriptor))  # it may be another file by now
        except ValueError:
            os.close(descriptor)
            raise
        return descriptor

    def insist(status):
        if not stat.S_ISREG(status.st_mode):
            kind = KINDS.get(stat.S_IFMT(status.st_mode), "no ordinary file")
            raise ValueError(f"{path} is {kind}, not {wanted}")

    file = open(path, "rb", opener=open_at_once)  # noqa: SIM115 (the caller closes it)
    return file, os.fstat(file.fileno()).st_size


def contents(path, wanted="a file"):
    """The bytes of an ordinary file: see `opened`."""
    file, size = opened(path, wanted)
    with file:
        return file.read(size)


def write(path, data):
    """Write bytes to a file of a program's folder, whole or not at all: see `save`."""
    write_whole(path, data, follow=False)


def save(value, path):
    """Let `microtensor.save` write a file of a program's folder, whole or not at all.

    A folder of runs may be a stranger's: a symbolic link that stands there instead of the file is
    replaced, not followed.
    """
    with whole_file(path, follow=False) as file:
        mt.save(value, file)


def without_link(path):
    """The path, after removing a symbolic link that stands there: see `save`."""
    if path.is_symlink():
        path.unlink()
    return path


class _Named(io.BytesIO):
    """Bytes of a file that has a name, for errors to tell."""

    def __init__(self, data, name):
        super().__init__(data)
        self.name = name


def load(path):
    """The content of an ordinary file, by `microtensor.load`. ValueError if it cannot be loaded."""
    return mt.load(_Named(contents(path), str(path)))


def format_of(path):
    """The format that the file at a path names; None if it names none, or cannot be loaded."""
    try:
        state = load(path)
    except (OSError, ValueError):
        return None
    return state.get("format") if isinstance(state, dict) else None


# ---- JSON ----------------------------------------------------------------------------------------


def read_json(path):
    """The value in a JSON file. ValueError naming the file if it is damaged: see `parsed`."""
    text = contents(path)
    try:
        return parsed(text)
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}") from None


def parsed(text):
    """The value of a JSON text, str or bytes. ValueError if it is damaged, or names a key twice."""
    try:
        value = json.loads(text, object_pairs_hook=_object)
    except RecursionError:
        raise ValueError(TOO_DEEP) from None
    level = [value]
    for _ in range(DEEPEST):  # so that whoever compares or prints it need not recur far
        level = [inner for outer in level for inner in _inner(outer)]
    if level:
        raise ValueError(TOO_DEEP)
    return value


DEEPEST, TOO_DEEP = 50, "it is nested too deeply"


def _inner(value):
    """The values in a list or dict."""
    return value.values() if type(value) is dict else value if type(value) is list else ()


def _object(pairs):
    found = dict(pairs)
    if len(found) < len(pairs):
        names = set()
        twice = next(name for name, _ in pairs if name in names or names.add(name))
        raise ValueError(f"the key {twice!r:.80} is there twice")
    return found


# ---- one program at a time -----------------------------------------------------------------------

LOCK = ".lock"


@contextlib.contextmanager
def only_here(folder):
    """Within, no other program writes into a folder that asks for it here, too.

    The folder is made if it is missing, and goes again if nothing came into it. InUse, a
    ValueError, if another program has it. The lock is the operating system's, on a file `.lock`: it
    ends with the process, however that ends, and a file that is left behind locks nothing.
    """
    folder = Path(folder)
    made = [f for f in (folder, *folder.parents) if not f.exists()]
    descriptor = _locked(folder)
    try:
        yield
    finally:
        _unlock(descriptor, folder / LOCK)
        with contextlib.suppress(OSError):  # it is not empty
            for empty in made:
                empty.rmdir()


def _locked(folder):
    """The open lock file of a folder, locked. It holds the number of this process."""
    path = folder / LOCK
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    for _ in range(1000):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except FileExistsError:
            if folder.exists() and not folder.is_dir():
                raise
            continue  # it was there, and whoever had it has just removed it
        try:
            descriptor = os.open(path, flags, 0o666)
        except FileNotFoundError:
            continue  # whoever had the folder has just removed it
        try:
            _lock(descriptor, folder)
            if os.path.samestat(os.fstat(descriptor), os.stat(path)):
                os.ftruncate(descriptor, 0)
                os.write(descriptor, str(os.getpid()).encode())
                return descriptor
        except FileNotFoundError:
            pass
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # it was removed between opening and locking
    raise OSError(f"{path} comes and goes")


def _lock(descriptor, folder):
    """Lock an open file, at once. InUse if another program has."""
    try:
        try:
            import fcntl
        except ImportError:  # Windows
            import msvcrt

            os.lseek(descriptor, 2**30, os.SEEK_SET)  # a byte that nobody reads
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        os.lseek(descriptor, 0, os.SEEK_SET)
        number = os.read(descriptor, 20)
        who = f"process {number.decode()}" if number.isdigit() else "another process"
        raise InUse(
            f"{folder} is in use: {who} writes its checkpoints there; wait for its end, or choose "
            "another folder with --out"
        ) from None
    except OSError:
        pass  # a file system without locks
    os.lseek(descriptor, 0, os.SEEK_SET)


class InUse(ValueError):
    """Another program writes into the folder."""


def _unlock(descriptor, path):
    """Give a lock back, and remove its file while nobody else can have it."""
    if os.name == "nt":  # where an open file cannot be removed
        os.close(descriptor)
        with contextlib.suppress(OSError):
            path.unlink()
        return
    try:
        path.unlink(missing_ok=True)
    finally:
        os.close(descriptor)
