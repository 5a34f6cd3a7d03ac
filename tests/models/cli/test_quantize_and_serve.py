"""`python -m models quantize` and `serve`: files, tables, what is refused, and Ctrl-C."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request

import pytest
from running import called

import microtensor as mt
from microtensor.quantization import is_quantized
from models import GPT2, GPT2Config
from models.cli import commands
from models.serving.loading import load_adapter, load_served, model_at
from models.text.tokenizers import BPETokenizer
from models.training.small import load_small

TEXT = "She sells sea shells by the sea shore. The shells she sells are sea shells.\n" * 60


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with a MiniGPT, an n-gram and a GRU, each in a folder of its own, and the text."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "text.txt").write_text(TEXT)
    sizes = ["--d-model", "32", "--n-heads", "2", "--n-layers", "2", "--context-length", "32"]
    for name, options in (
        ("minigpt", [*sizes, "--steps", "30", "--batch-size", "8"]),
        ("recurrent", ["--d-model", "16", "--steps", "3", "--batch-size", "8"]),
        ("ngram", []),
    ):
        argv = [name, "--data", str(folder / "text.txt"), "--out", str(folder / name), *options]
        assert commands.main([*argv, "--sample-length", "1"]) == 0
    return folder


def run(capsys, *argv):
    """The exit code, and what was printed, on both ways."""
    return called(commands.main, argv, capsys)


@pytest.mark.parametrize("options", [[], ["--bits", 4], ["--bits", 4, "--group-size", 32]])
def test_quantize_writes_the_small_file(trained, tmp_path, capsys, monkeypatch, options):
    monkeypatch.setattr("models.cli.quantize.SECONDS", 0.02)
    to, text = tmp_path / "small.safetensors", trained / "text.txt"
    code, out, _ = run(
        capsys, "quantize", trained / "minigpt", "--data", text, "--to", to, *options
    )
    assert code == 0
    table = {line[:22].strip(): line[22:].split() for line in out.splitlines() if line[:1].strip()}
    first, second, share, _ = table["bytes of the weights"]
    assert float(share) == round(int(second.replace(",", "")) / int(first.replace(",", "")), 3)
    assert float(share) < (0.32 if not options else 0.24)  # so small a model has many scales
    before, after, change = map(float, table["held-out loss"])
    assert before > 0 and after - before == pytest.approx(change, abs=2e-4)
    assert abs(change) < (0.01 if not options else 0.1)
    assert float(table["tokens a second"][0].replace(",", "")) > 0
    model, tokenizer = load_small(to)
    assert is_quantized(model.head.weight) and not is_quantized(model.norm.weight)
    other, _ = model_at(trained / "minigpt")
    idx = mt.tensor([tokenizer.encode("She sells")])
    assert (other(idx) - model(idx)).std() < 0.2 * other(idx).std()
    assert to.stat().st_size < (trained / "minigpt" / "checkpoint.safetensors").stat().st_size / 6


def test_quantize_refuses_in_one_line(trained, tmp_path, capsys):
    text, kept = trained / "text.txt", tmp_path / "kept"
    kept.write_text("mine")
    (tmp_path / "bad.safetensors").write_bytes(b"nothing")
    (tmp_path / "other.txt").write_text("ABC" * 400)
    for argv, words in (
        ([trained / "ngram"], "counts, and no weights"),
        ([trained], "no checkpoint.safetensors and no config.json"),
        ([tmp_path / "none"], "No such file"),
        ([tmp_path / "bad.safetensors"], "cannot be loaded"),
        ([trained / "minigpt", "--to", kept], "is there already: --overwrite"),
        ([trained / "minigpt", "--group-size", 32], "--group-size is for --bits 4 alone"),
        ([trained / "minigpt", "--bits", 4, "--group-size", 20], "multiple of 32"),
        ([trained / "minigpt", "--bits", 5], "invalid choice"),
        ([trained / "minigpt", "--data", tmp_path / "other.txt"], "not among"),
        ([], "required"),
    ):
        extra = [] if "--data" in argv or not argv else ["--data", text]
        code, _, err = run(capsys, "quantize", *argv, *extra)
        assert code == 2 and words in err and err.count("\n") == 1, err
    assert kept.read_text() == "mine" and not (trained / "minigpt" / "int8.safetensors").exists()


def test_a_damaged_small_file_is_refused(trained, tmp_path):
    from microtensor.quantization import Int8WeightOnlyConfig, quantize_
    from models.training.small import save_small

    model, tokenizer = model_at(trained / "minigpt")
    quantize_(model, Int8WeightOnlyConfig())
    path = tmp_path / "small.safetensors"
    save_small(model, tokenizer, {}, path)
    for change, words in (
        (lambda s: s.pop("tokenizer"), "tokenizer"),
        (lambda s: s["config"].update(d_model=10**6), "do not fit"),
        (lambda s: s["config"].update(n_layers=10**6), "do not fit"),
        (lambda s: s["config"].update(vocab_size=3), "vocab_size"),
        (lambda s: s.update(architecture="Nothing"), "Nothing"),
        (lambda s: s.update(model={}), "tensors by name"),
        (lambda s: s["model"].update({"head.weight.scale": mt.zeros(2)}), "head.weight"),
        (lambda s: s["model"].update({"norm.bias": mt.full((32,), float("nan"))}), "not finite"),
    ):
        state = mt.load(path)
        change(state)
        mt.save(state, tmp_path / "changed.safetensors")
        with pytest.raises(ValueError, match=f"changed.safetensors.*{words}"):
            load_small(tmp_path / "changed.safetensors")


def test_every_kind_of_model_is_found_by_its_path(trained, tmp_path):
    mt.manual_seed(0)
    tokenizer = BPETokenizer.from_text(TEXT, 280)
    gpt2 = GPT2(GPT2Config(280, context_length=32, d_model=16, n_heads=2, n_layers=1))
    gpt2.save_pretrained(tmp_path / "tiny-gpt2", tokenizer)
    for path, name, kind in (
        (trained / "minigpt", "minigpt", "MiniGPT"),
        (trained / "minigpt" / "best.safetensors", "minigpt", "MiniGPT"),
        (trained / "recurrent", "recurrent", "Recurrent"),
        (trained / "ngram", "ngram", "NGram"),
        (tmp_path / "tiny-gpt2", "tiny-gpt2", "GPT2"),
    ):
        served = load_served(path)
        assert (served.name, type(served.model).__name__) == (name, kind)
    assert load_served(trained / "ngram", name="mine").name == "mine"


def test_an_adapter_is_a_model_of_its_own(trained, tmp_path):
    from models.post_training import lora

    model, tokenizer = model_at(trained / "minigpt")
    idx = mt.tensor([tokenizer.encode("She sells")])
    model.eval()  # without dropout
    before = model(idx)
    lora.add(model)
    with mt.no_grad():
        for parameter in lora.parameters(model):
            parameter += 0.1
    lora.save(model, tmp_path / "romeo")
    served = load_adapter(tmp_path / "romeo", trained / "minigpt")
    assert served.name == "romeo" and not mt.allclose(before, model(idx))
    assert mt.allclose(served.model(idx), model(idx), atol=1e-5)


def test_serve_refuses_in_one_line(trained, tmp_path, capsys):
    pytest.importorskip("uvicorn")
    good = ["--checkpoint", trained / "minigpt"]
    (tmp_path / "empty").mkdir()
    for argv, words in (
        ([], "required"),
        (["--checkpoint", tmp_path / "none"], "there is no "),
        (["--checkpoint", tmp_path / "empty"], "no checkpoint.safetensors"),
        ([*good, "--port", 99999], "a port lies within"),
        ([*good, "--port", "x"], "invalid int"),
        ([*good, "--rows", 0], "--rows must be at least 1"),
        ([*good, *good], "two models have one name"),
        ([*good, "--name", "a", "--name", "b"], "more names than checkpoints"),
        ([*good, "--adapter", tmp_path / "empty"], "there is no "),
        ([*good, "--host", "256.1.1.1", "--port", 0], "cannot listen at 256.1.1.1"),
    ):
        code, _, err = run(capsys, "serve", *argv)
        assert code == 2 and words.lower() in err.lower() and err.count("\n") == 1, err


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_serve_answers_and_stops_when_it_is_told_to(trained, sign):
    pytest.importorskip("uvicorn", reason="the extra serve")
    start = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
    start += "from models.cli.commands import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", start, "serve", "--checkpoint", str(trained / "minigpt"),
               "--checkpoint", str(trained / "ngram"), "--port", "0"]  # fmt: skip
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ)
    )
    try:
        line = process.stdout.readline()
        address = re.search(r"serving minigpt, ngram at (http://127\.0\.0\.1:\d+/v1)", line)[1]
        for model in ("minigpt", "ngram"):
            body = {"model": model, "prompt": "She ", "max_tokens": 8, "temperature": 0}
            asked = urllib.request.Request(
                f"{address}/completions", json.dumps(body).encode(),
                {"Content-Type": "application/json"},
            )  # fmt: skip
            answer = json.loads(urllib.request.urlopen(asked, timeout=60).read())
            assert answer["choices"][0]["text"] and answer["model"] == model
        body = {"model": "minigpt", "prompt": "She ", "max_tokens": 4096, "stream": True}
        asked.data = json.dumps(body).encode()
        asked.remove_header("Content-length")
        stream = urllib.request.urlopen(asked, timeout=60)
        stream.read(100)
        process.send_signal(sign)
        begun = time.monotonic()
        rest = stream.read().decode()
        out, err = process.communicate(timeout=30)
        assert "the text was cut" in rest and rest.endswith("data: [DONE]\n\n")
        assert out == "stopped\n" and process.returncode == 0, err
        assert time.monotonic() - begun < 20  # two seconds, where the machine is free
    finally:
        process.kill()
        process.wait()
