"""The disk cache of compiled loops: what is wrong with it costs time, and never an operation."""

import hashlib
import os
import pickle
import shutil
import subprocess
import sys

import pytest

numba = pytest.importorskip("numba")

RELU = """
import warnings
import numba.core.caching as caching
caching.CacheImpl._locator_classes = [caching.UserProvidedCacheLocator]
import microtensor as mt
x = mt.arange(-500.0, 500.0)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    for _ in range(2):
        assert (x.relu() == x.clamp(min=0)).all()
loops = mt.backends.numba.kernels()
print(len(caught), *[str(w.message) for w in caught], sum(loops.relu.stats.cache_hits.values()))
"""


def start(folder, code=RELU, **options):
    return subprocess.Popen(
        [sys.executable, "-c", code],
        env={**os.environ, "NUMBA_CACHE_DIR": str(folder), "MICROTENSOR_BACKEND": "numba"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def told(process):
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return out.strip()


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """A folder with the compiled loops in it."""
    folder = tmp_path_factory.mktemp("cache")
    assert told(start(folder)) == "0 0"
    return folder


def files_of(folder):
    return sorted(path for path in folder.rglob("*.nb?") if ".relu-" in path.name)


def test_compiling_is_said_once(tmp_path):
    first, second = [start(tmp_path).communicate(timeout=120) for _ in range(2)]
    assert first[1] == "microtensor: compiling its loops for this machine, once …\n"
    assert second == ("0 1\n", "")


def test_a_cache_serves(filled):
    index, code = sorted(files_of(filled), key=lambda path: path.suffix)[::-1]
    assert (index.suffix, code.suffix) == (".nbi", ".nbc")
    assert told(start(filled)) == "0 1"


@pytest.mark.parametrize("folder", ["a file", "below a file", "/proc"])
def test_no_folder_can_be_written(folder, tmp_path):
    (tmp_path / "file").write_text("")
    places = {"a file": tmp_path / "file", "below a file": tmp_path / "file" / "x"}
    answer = told(start(places.get(folder, folder)))
    assert answer.startswith("1 the compiled loops cannot be kept on disk") and answer.endswith(
        " 0"
    )


def test_a_full_disk(tmp_path):
    full = RELU.replace(
        "import microtensor as mt\n",
        """
import microtensor as mt
def save(*args):
    raise OSError(28, "No space left on device")
caching.IndexDataCacheFile._open_for_write = save
""",
    )
    assert "No space left" in told(start(tmp_path, full))


def test_warnings_are_errors(tmp_path):
    (tmp_path / "file").write_text("")
    process = start(tmp_path / "file", RELU.replace('"always"', '"error"'))
    assert told(process) == "0 0"


DAMAGE = {
    "nothing": lambda data: b"",
    "its beginning": lambda data: data[: len(data) // 2],
    "all but the last byte": lambda data: data[:-1],
    "garbage": lambda data: b"garbage" * 100,
    "one bit wrong": lambda data: data[:-200] + bytes([data[-200] ^ 1]) + data[-199:],
    "another version": lambda data: data.replace(b"0.", b"9.", 1),
    "an attribute of nothing": lambda data: b"cno_such_module\nname\n.",
}


@pytest.mark.parametrize("damage", [*DAMAGE, "a folder in its place"])
def test_damaged_files_are_made_anew(damage, filled):
    was = {path: path.read_bytes() for path in files_of(filled)}
    for path, data in was.items():
        if damage in DAMAGE:
            path.write_bytes(DAMAGE[damage](data))
        else:
            path.unlink()
            path.mkdir()
    answer = told(start(filled))
    if damage in DAMAGE:
        assert answer == "0 0" and told(start(filled)) == "0 1"
        return
    assert answer.startswith("1 the compiled loops") and answer.endswith(" 0")
    for path, data in was.items():
        path.rmdir()
        path.write_bytes(data)


class Evil:
    """Unpickled, it writes a file."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


OTHERS = {  # who else may write: the modes of folder and file, and whether they are another's
    "the world, the folder": (0o777, 0o600, False),
    "the group, the folder": (0o770, 0o600, False),
    "the world, the files": (0o700, 0o602, False),
    "the group, the files": (0o700, 0o660, False),
    "another owner": (0o700, 0o600, True),
}


@pytest.mark.skipif(os.name != "posix", reason="no modes")
@pytest.mark.parametrize("others", OTHERS)
def test_nothing_is_run_that_others_may_have_written(others, filled, tmp_path):
    """A forged index or code is not unpickled; it is compiled without, which is said once."""
    of_folder, of_file, another = OTHERS[others]
    if another and os.geteuid():
        pytest.skip("only root gives files away")
    cache = tmp_path / "cache"
    shutil.copytree(filled, cache)
    (folder,) = {path.parent for path in files_of(cache)}
    for path in files_of(cache):
        version = pickle.dumps(numba.__version__, -1) if path.suffix == ".nbi" else b""
        forged = pickle.dumps(Evil(tmp_path / "run"))
        digest = hashlib.sha256(forged).digest() if path.suffix == ".nbc" else b""
        path.write_bytes(version + digest + forged)
        path.chmod(of_file)
        if another:
            os.chown(path, 12345, -1)
    folder.chmod(of_folder)
    answer = told(start(cache))
    assert not (tmp_path / "run").exists()
    assert answer.startswith("1 the compiled loops") and "may be written by others" in answer
    assert answer.endswith(" 0")


@pytest.mark.skipif(os.name != "posix", reason="no modes")
def test_only_the_user_can_write_what_is_kept(tmp_path):
    """Whatever files are by default, and whoever may write the folder that was given."""
    tmp_path.chmod(0o777)
    assert told(start(tmp_path, umask=0)) == "0 0"
    (folder,) = {path.parent for path in files_of(tmp_path)}
    assert [path.stat().st_mode & 0o022 for path in (folder, *files_of(tmp_path))] == [0, 0, 0]
    assert told(start(tmp_path)) == "0 1"


def test_two_processes_fill_one_folder(tmp_path):
    both = [start(tmp_path) for _ in range(2)]
    assert [told(process).split()[0] for process in both] == ["0", "0"]
    assert told(start(tmp_path)) == "0 1"


def test_two_signatures_under_one_file_name():
    """What two processes may leave behind: the index of one, the code of the other."""
    from microtensor.backends.numba_cache import _Files

    class Memory(_Files):
        files = {}

        def _load_index(self):
            return dict.fromkeys(self.files, "one")

        def _save_index(self, overloads):
            pass

        def _save_data(self, name, data):
            self.files["a"] = self.files["b"] = data

        def _load_data(self, name):
            return self.files["a"]

    files = Memory("", "", None)
    files.save("a", 1)
    assert files.load("a") == 1 and files.load("b") is None


INTERRUPTED = """
import signal, threading, time
import microtensor as mt
def handler(*args):
    raise KeyboardInterrupt
signal.signal(signal.SIGINT, handler)
x = mt.arange(-500.0, 500.0)
interrupts, delay = 0, 0.005
while True:
    timer = threading.Timer(delay, signal.raise_signal, [signal.SIGINT])
    done = False
    try:
        timer.start()
        y = x.softmax(-1)
        done = True
        timer.join()
    except KeyboardInterrupt:
        interrupts += 1
    delay *= 1.7
    if done:
        break
x.relu()
assert abs(float(x.softmax(-1).sum()) - 1) < 1e-5
print(interrupts)
"""


def test_an_interrupt_while_numba_is_imported_or_compiles(tmp_path):
    assert int(told(start(tmp_path, INTERRUPTED))) >= 3


FORK = """
import os, signal, threading, time
import microtensor as mt
x = mt.arange(-500.0, 500.0)
thread = threading.Thread(target=x.relu)
thread.start()
time.sleep(0.1)  # numba is being imported
child = os.fork()
if not child:
    signal.alarm(60)
    x.relu()
    os._exit(0)
thread.join()
print(os.waitpid(child, 0)[1])
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_fork_while_another_thread_imports_numba(filled):
    assert told(start(filled, FORK)) == "0"
