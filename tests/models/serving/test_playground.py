"""The playground without a browser: what it counts, says and refuses, and its HTTP interface."""

import itertools
import json
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request

import pytest
from places import CLONE

import microtensor as mt
from models import MiniGPT
from models.generation import sampling
from models.serving.playground import looks, sizes, texts
from models.serving.playground.lab import Lab
from models.training import load_checkpoint, memory

TEXT = "the cat sat on the mat and the dog ate the hat of the rat\n" * 30


def small(**chosen):
    return {
        "n_layers": 1,
        "n_heads": 2,
        "d_model": 16,
        "context_length": 8,
        "batch_size": 4,
        **chosen,
    }


@pytest.fixture
def lab(tmp_path):
    lab = Lab(tmp_path / "runs", texts.data("cats", TEXT))
    ask(lab, lab.choose, small())
    yield lab
    lab.close()


def ask(lab, function, *arguments):
    return lab.ask(function, *arguments).result(30)


def steps(lab, n):
    for _ in range(n):
        ask(lab, lab.one_step)
    return lab.trainer.losses


# ---- sizes -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "layers, heads, width, context", [*itertools.product((1, 3), (1, 2, 4), (16, 48), (8, 64))]
)
def test_parameters_are_counted_as_the_model_has_them(layers, heads, width, context):
    settings = {
        "n_layers": layers,
        "n_heads": heads,
        "d_model": width,
        "context_length": context,
        "dropout": 0.0,
    }
    config = sizes.config(settings, 65)
    assert sum(sizes.parts(config).values()) == sum(p.numel() for p in MiniGPT(config).parameters())


def test_heads_that_do_not_divide_the_width():
    with pytest.raises(
        ValueError, match=r"5 heads cannot share a width of 64 evenly; 1, 2, 4, 8 can"
    ):
        sizes.config({**sizes.usual(sizes.MODEL), "n_heads": 5}, 65)


@pytest.mark.parametrize(
    "chosen, words",
    [
        ({"n_layers": 99}, "Layers must be within 1 … 8, got 99"),
        ({"n_layers": 2.5}, "Layers must be a number"),
        ({"n_layers": True}, "Layers must be a number"),
        ({"lr": float("nan")}, "Learning rate must be a number"),
        ({"lr": "a"}, "Learning rate must be"),
        ({"speed": 1}, "There is no setting 'speed'"),
        ({"n_heads": 7}, "7 heads cannot share"),
        (
            {"context_length": 256, "batch_size": 128, "n_layers": 8, "d_model": 256, "n_heads": 8},
            "GB",
        ),
    ],
)
def test_settings_that_are_refused_change_nothing(lab, monkeypatch, chosen, words):
    monkeypatch.setattr(memory, "available_memory", lambda: 2 << 30)
    before, weights = dict(lab.settings), lab.model
    with pytest.raises(ValueError, match=re.escape(words)):
        ask(lab, lab.choose, chosen)
    assert lab.settings == before and lab.model is weights


def test_bpe_learns_as_many_tokens_as_are_chosen(lab):
    numbers = " ".join(str(7919 * n) for n in range(400))
    ask(lab, lab.learn_from, texts.data("numbers", numbers, "bpe", 288))
    ask(lab, lab.choose, {"vocabulary": 272})
    counted = [lab.state["parameter_count"], sum(p.numel() for p in lab.model.parameters())]
    assert lab.data.tokenizer.vocab_size == 272 and counted[0] == counted[1]
    steps(lab, 1)
    ask(lab, lab.choose, {"vocabulary": 288})
    assert lab.data.tokenizer.vocab_size == 272 and lab.state["reset_needed"]
    assert lab.state["parameter_count"] == counted[0] + 16 * 2 * lab.model.config.d_model
    ask(lab, lab.reset)
    assert lab.data.tokenizer.vocab_size == lab.model.config.vocab_size == 288


def test_characters_have_a_vocabulary_of_their_own(lab):
    before = lab.model.config.vocab_size
    ask(lab, lab.choose, {"vocabulary": 272})
    assert lab.model.config.vocab_size == before == len(set(TEXT))
    assert not lab.state["reset_needed"]


def test_a_vocabulary_that_leaves_too_few_tokens_changes_nothing(tmp_path):
    short = "the cat sat on the mat and the dog ate the hat " * 8
    lab = Lab(tmp_path, texts.data("short", short, "byte"))
    try:
        with pytest.raises(ValueError, match="needs at least"):
            ask(lab, lab.learn_from, texts.data("short", short, "bpe", 400))
        assert lab.data.kind == "byte" and lab.model.config.vocab_size == 256
        ask(lab, lab.choose, {"context_length": 56})
        ask(lab, lab.learn_from, texts.data("short", short, "bpe", 272))
        before = dict(lab.settings)
        with pytest.raises(ValueError, match="needs at least"):
            ask(lab, lab.choose, {"vocabulary": 400})
        assert lab.settings == before
        assert lab.data.vocabulary == lab.model.config.vocab_size == 272
        steps(lab, 1)
    finally:
        lab.close()


# ---- training -----------------------------------------------------------------------------


def test_reset_gives_the_same_weights_and_the_same_losses(lab):
    first = list(steps(lab, 3))
    ask(lab, lab.reset)
    assert lab.state["step"] == 0 and lab.state["loss"] is None
    assert list(steps(lab, 3)) == first


def test_rates_change_without_losing_the_training(lab):
    steps(lab, 30)
    ask(lab, lab.choose, {"lr": 0.001, "batch_size": 2})
    losses = steps(lab, 1)
    assert len(losses) == 31 and lab.trainer.optimizer.param_groups[0]["lr"] == 0.001
    assert lab.trainer.config.batch_size == 2
    learnt = lab.model
    ask(lab, lab.choose, {"n_layers": 2})
    assert lab.model is learnt and lab.state["reset_needed"]
    ask(lab, lab.reset)
    assert len(lab.model.blocks) == 2 and not lab.state["reset_needed"]


def test_runs_are_kept_and_go_on_exactly(lab, tmp_path):
    steps(lab, 5)
    ask(lab, lab.choose, {"lr": 0.002})
    steps(lab, 2)
    ask(lab, lab.pause)
    whole = list(steps(lab, 3))
    ask(lab, lab.reset)
    number = lab.state["runs"][0]["number"]
    assert lab.state["runs"][0]["step"] == 10
    path = tmp_path / "runs" / f"run-{number}" / "checkpoint.safetensors"
    other = Lab(tmp_path / "runs", texts.data("cats", TEXT))
    try:
        assert [run["step"] for run in other.state["runs"]] == [10]
        ask(other, other.load, number)
        assert other.state["step"] == 10 and other.trainer.losses == whole
        assert other.settings["lr"] == 0.002 and other.settings["d_model"] == 16
        assert len(steps(other, 1)) == 11 and path.exists()
    finally:
        other.close()


def test_the_runs_of_a_stranger_are_neither_changed_nor_followed(tmp_path):
    precious = tmp_path / "precious"
    precious.write_bytes(b"precious")
    run = tmp_path / "runs" / "run-7"
    run.mkdir(parents=True)
    (run / "checkpoint.safetensors").symlink_to(precious)
    lab = Lab(tmp_path / "runs", texts.data("cats", TEXT))
    try:
        ask(lab, lab.choose, small())
        steps(lab, 1)
    finally:
        saved = lab.close()
    assert saved == str(tmp_path / "runs" / "run-8" / "checkpoint.safetensors")
    assert precious.read_bytes() == b"precious" and load_checkpoint(saved)["step"] == 1


OF_ITSELF = [
    {"lr": float("nan")}, {"lr": float("inf")}, {"batch_size": 10**400}, {"n_layers": [[1]] * 3},
    {"d_model": True}, {"text": {"a": 1}}, {"text": "\ud800" + "A" * 10**6},
]  # fmt: skip


def test_what_a_run_says_of_itself_can_be_sent_to_the_page(tmp_path):
    lab = Lab(tmp_path / "runs", texts.data("cats", TEXT))
    try:
        ask(lab, lab.choose, small())
        steps(lab, 1)
        ask(lab, lab.pause)
        state = load_checkpoint(lab.saved)
        for what in OF_ITSELF:
            state["about"] = {**lab.trainer.about, **what}
            mt.save(state, lab.saved)
            runs = lab._runs_before()
            text = json.dumps(runs, allow_nan=False, ensure_ascii=False).encode()
            assert len(runs) == ("A" in str(what)) and len(text) < 2000, what
    finally:
        lab.close()


def test_training_writes_samples_and_ends_with_the_lab(tmp_path):
    lab = Lab(tmp_path, texts.data("cats", TEXT))
    ask(lab, lab.choose, small())
    ask(lab, lab.train)
    while not lab.state["samples"] or lab.state["step"] < 5:
        pass
    assert lab.state["training"] and lab.state["sample"]
    saved = lab.close()
    assert saved and not lab._thread.is_alive()
    assert mt.load(saved)["step"] == lab.trainer.step


# ---- texts -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", texts.KINDS)
def test_another_text_is_another_model(lab, kind):
    steps(lab, 1)
    data = texts.data("more", TEXT.upper() + "ÄÖÜ €\n", kind)
    ask(lab, lab.learn_from, data)
    assert lab.state["step"] == 0 and lab.state["text"]["kind"] == kind
    assert lab.model.config.vocab_size == data.tokenizer.vocab_size
    steps(lab, 1)


@pytest.mark.parametrize(
    "text, words",
    [
        ("", "The text is empty"),
        ("  \n ", "The text is empty"),
        ("a\ud800", "no valid character"),
        ("".join(map(chr, range(0x4E00, 0x4E00 + 6000))), "6,000 different characters"),
    ],
)
def test_texts_that_are_refused(text, words):
    with pytest.raises(ValueError, match=words):
        texts.data("x", text)


def test_a_text_shorter_than_the_context_changes_nothing(lab):
    before = lab.model
    with pytest.raises(
        ValueError, match="The text has 6 tokens, and a context of 8 needs at least 20"
    ):
        ask(lab, lab.learn_from, texts.data("x", "abcdef"))
    assert lab.model is before and lab.data.name == "cats"


# ---- next tokens -----------------------------------------------------------------------------


@pytest.mark.parametrize("model", looks.MODELS)
def test_probabilities_are_those_that_are_drawn_from(lab, model):
    text = "hel" if model == "table" else "the cat"
    asked = {
        "model": model,
        "text": text,
        "temperature": 0.7,
        "top_k": 3,
        "top_p": 0.9,
        "min_p": 0.05,
    }
    answer = ask(lab, looks.next_token, lab, asked)
    speaker, tokenizer = looks.model_and_tokenizer(lab, model)
    logits = looks.logits_after(speaker, tokenizer.encode(text))
    p = sampling.distribution(logits, 0.7, 3, 0.9, min_p=0.05)[0].tolist()
    assert {c["id"]: c["probability"] for c in answer["candidates"]} == {
        c["id"]: p[c["id"]] for c in answer["candidates"]
    }
    assert sum(c["probability"] for c in answer["candidates"]) == pytest.approx(1)
    ids = ask(lab, looks.next_token, lab, {**asked, "choose": True})["ids"]
    assert p[ids[-1]] > 0 and len(ids) == len(tokenizer.encode(text)) + 1


def test_the_table_says_hello_world(lab):
    asked = {"model": "table", "text": "hel", "temperature": 0}
    for _ in range(8):
        answer = ask(lab, looks.next_token, lab, {**asked, "choose": True})
        asked = {"model": "table", "ids": answer["ids"], "temperature": 0}
    assert answer["text"] == "hello world"


@pytest.mark.parametrize(
    "asked, words",
    [
        ({"text": ""}, "The prompt is empty"),
        ({"text": "€"}, "does not know this prompt"),
        ({"text": "a" * 30_000}, "at most 20,000"),
        ({"text": "the", "temperature": 9}, "Temperature must"),
        ({"ids": [10**9]}, "do not belong"),
        ({"ids": []}, "do not belong"),
        ({"text": "the", "token": -1}, "do not belong"),
        ({"text": "the", "model": "x"}, "no model 'x'"),
    ],
)
def test_questions_that_are_refused(lab, asked, words):
    with pytest.raises(ValueError, match=words):
        ask(lab, looks.next_token, lab, asked)


def test_suggestions_and_temperatures(lab):
    words = ask(lab, looks.suggestions, lab, {"text": "the"})["suggestions"]
    assert len(words) == 3 and all(1 <= len(w["ids"]) <= looks.WORD for w in words)
    written = ask(lab, looks.at_temperatures, lab, {"text": "the cat"}, 12)["texts"]
    assert [w["temperature"] for w in written] == [0, 0.5, 1, 1.5]
    assert all(len(w["text"]) == 12 for w in written)


def test_looking_inside(lab):
    answer = ask(lab, looks.look_inside, lab, {"text": "the cat sat on the mat"})
    T = lab.model.config.context_length
    assert len(answer["tokens"]) == len(answer["saliency"]) == T
    assert len(answer["attention"]) == 1 and len(answer["attention"][0]) == 2
    for head in answer["attention"][0]:
        assert all(sum(row) == pytest.approx(1, abs=1e-5) for row in head)
    assert len(answer["lens"]) == 2


@pytest.mark.parametrize("name", looks.PICTURES)
def test_pictures_change_nothing(lab, name):
    steps(lab, 1)
    before = [p.grad.clone() for p in lab.model.parameters()]
    ask(lab, looks.PICTURES[name], lab)
    assert all((p.grad == g).all() for p, g in zip(lab.model.parameters(), before))


# ---- over HTTP ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The address of a playground in a process of its own."""
    pytest.importorskip("starlette")
    pytest.importorskip("uvicorn")
    folder = tmp_path_factory.mktemp("playground")
    (folder / "cats.txt").write_text(TEXT)
    command = [
        sys.executable,
        "-m",
        "models",
        "playground",
        "--no-browser",
        "--port",
        "0",
        "--data",
        "cats.txt",
        "--out",
        "runs",
    ]
    env = {**os.environ, "PYTHONPATH": str(CLONE)}
    process = subprocess.Popen(command, cwd=folder, env=env, stdout=subprocess.PIPE, text=True)
    address = re.search(r"http://127.0.0.1:\d+", process.stdout.readline())[0]
    yield address
    stream = urllib.request.urlopen(address + "/api/events", timeout=10)  # one that is still open
    stream.readline()
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=20)
    assert "the model was saved as runs/run-1/checkpoint.safetensors" in out
    assert process.returncode == 0


def send(server, path, value=None, **headers):
    """(status, JSON or text) of a request: POST with a value, GET without."""
    data = (
        None if value is None else value if isinstance(value, bytes) else json.dumps(value).encode()
    )
    headers = {"Content-Type": "application/json"} | {
        k.replace("_", "-"): v for k, v in headers.items()
    }
    request = urllib.request.Request(server + path, data, headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            text, status = answer.read().decode(), answer.status
    except urllib.error.HTTPError as error:
        text, status = error.read().decode(), error.code
    return status, json.loads(text) if text.startswith("{") else text


def test_the_page_and_its_files(server):
    status, html = send(server, "/")
    assert status == 200 and 'src="main.js"' in html
    for name in re.findall(r'(?:src|href)="(\w[\w.]+)"', html):
        assert send(server, "/" + name)[0] == 200
    for path in ("/nothing.js", "/..%2f..%2fpyproject.toml", "/%2e%2e/pyproject.toml", "/app.py"):
        assert send(server, path)[0] == 404


@pytest.mark.parametrize("site, status", [("cross-site", 403), ("same-site", 403),
                                          ("same-origin", 200), ("none", 200)])  # fmt: skip
def test_pages_of_others_show_nothing_of_it(server, site, status):
    for path in ("/api/state", "/main.js"):
        assert send(server, path, Sec_Fetch_Site=site)[0] == status
    assert send(server, "/", Sec_Fetch_Site=site)[0] == 200  # a link leads here


def test_a_training_over_http(server):
    assert send(server, "/api/settings", small())[1]["settings"]["d_model"] == 16
    state = send(server, "/api/step", {})[1]
    assert state["step"] == 1 and state["loss"] > 0
    stored = send(server, "/api/state")[1]
    assert stored["step"] == 1 and stored["loss"] == state["loss"]
    assert stored["parameter_count"] == sum(stored["parts"].values())
    with urllib.request.urlopen(server + "/api/events", timeout=10) as stream:
        lines = [stream.readline().decode() for _ in range(4)]
    message = json.loads(next(l for l in lines if l.startswith("data: "))[6:])
    assert message["points"] == [[1, state["loss"]]] and message["first"]


@pytest.mark.parametrize(
    "headers, status",
    [
        ({"Host": "evil.example"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Content_Type": "text/plain"}, 415),
        ({"Content_Type": "application/x-www-form-urlencoded"}, 415),
    ],
)
def test_other_pages_cannot_ask(server, headers, status):
    before = send(server, "/api/state")[1]["step"]
    assert send(server, "/api/step", {}, **headers)[0] == status
    assert send(server, "/api/state")[1]["step"] == before


@pytest.mark.parametrize(
    "path, value, status",
    [
        ("/api/next", b"{", 400),
        ("/api/next", b"[]", 400),
        ("/api/next", b"\xff", 400),
        ("/api/next", {"text": 5}, 400),
        ("/api/next", {"text": "\u0000"}, 400),
        ("/api/next", {"ids": ["a"]}, 400),
        ("/api/next", {"text": "the", "temperature": "hot"}, 400),
        ("/api/next", {"text": "the", "ids": [1.5]}, 400),
        ("/api/text", {"text": ""}, 400),
        ("/api/text", {"text": "short"}, 400),
        ("/api/text", {"text": "a", "kind": "x"}, 400),
        ("/api/text", {"text": "a", "x": [[]] * 40_000}, 413),
        ("/api/settings", {"n_heads": 3}, 400),
        ("/api/load", {"number": 99}, 400),
        ("/api/load", {"number": "../x"}, 400),
        ("/api/next", b"[" * 60_000, 400),
        ("/api/next", b" " * 70_000, 413),
        ("/api/nothing", {}, 404),
        ("/api/train", None, 405),
        ("/api/pictures/x", None, 404),
    ],
)
def test_bad_requests_get_a_sentence_or_a_status(server, path, value, status):
    got, answer = send(server, path, value)
    assert got == status
    if status in (400, 413):
        assert re.fullmatch(r"[^\n]+", answer["error"]) and "Traceback" not in answer["error"]
    assert send(server, "/api/state")[0] == 200


def test_a_missing_package_is_said(tmp_path):
    program = (
        "import sys\nsys.modules['starlette'] = sys.modules['uvicorn'] = None\n"
        "from models.cli.commands import main\nsys.exit(main(['playground']))"
    )
    run = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(CLONE)},
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert run.returncode == 2
    assert run.stderr == 'models.playground: uvicorn is missing; pip install -e ".[lab]"\n'
