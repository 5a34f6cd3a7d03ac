"""The demos that look inside a model, as a person meets them: what they print, leave and refuse."""

import importlib.util
import os
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from places import program
from running import called

import microtensor as mt
from models.cli import showing
from models.ladder import RUNGS
from models.ladder.minigpt import MiniGPT, MiniGPTConfig
from models.text import data
from models.text.tokenizers import CharTokenizer
from models.training import Trainer, TrainingConfig

TEXT = "the cat sat on the mat. the dog sat on the log.\n" * 20
PICTURES = importlib.util.find_spec("matplotlib") is not None  # which only the demos need


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder to be in, with the checkpoint of a small model and a text."""
    folder = tmp_path_factory.mktemp("demos")
    mt.manual_seed(0)
    tokenizer = CharTokenizer.from_text(TEXT + "<&/>")
    config = MiniGPTConfig(tokenizer.vocab_size, 32, d_model=12, n_heads=2, n_layers=3)
    parts = data.split(tokenizer.encode_array(TEXT), 32)
    checkpoint = folder / "runs" / "shakespeare" / "checkpoint.safetensors"
    checkpoint.parent.mkdir(parents=True)
    trainer = Trainer(MiniGPT(config), tokenizer, *parts, TrainingConfig())
    mt.save(trainer.state_dict(), checkpoint)
    (folder / "text.txt").write_text(TEXT)
    return folder


@pytest.fixture
def run(folder, monkeypatch, capfd):
    """Runs a demo in this process, without a terminal: its exit code, its output, its complaint.

    Without matplotlib everything is printed, and then the missing package named.
    """

    def run(name, *args, pictures=(), prompt="the cat "):
        monkeypatch.chdir(folder)
        args = [str(a) for a in args]
        if prompt is not None:
            args += ["--prompt", prompt]
        code, out, err = called(program(name).main, args, capfd)
        assert "Traceback" not in out + err
        if pictures and not PICTURES:
            assert code == 2 and "matplotlib is missing" in err
        elif pictures:
            assert (code, err) == (0, "")
            for path in pictures:
                is_whole(Path(path))
        return code, out, err

    return run


def is_whole(path):
    """A picture of its kind, or a page that fetches nothing."""
    content = path.read_bytes()
    if path.suffix == ".html":
        text = content.decode()
        assert text.startswith("<!doctype html>") and text.endswith("</html>\n")
        assert not re.search(r"https?://|src=\"(?!data:)|<link|@import", text)
    else:
        assert content.startswith({".png": b"\x89PNG", ".gif": b"GIF89a"}[path.suffix])


def files(folder, *names):
    return [f"runs/{folder}/{name}" for name in names]


# ---- the loop ----------------------------------------------------------------------------------

NEXT = files("next_token", "next_token.png", "next_token.html")


def test_next_token_goes_by_itself_without_a_terminal(run):
    _, out, _ = run("next_token", "--length", 3, "--show", 4, pictures=NEXT)
    assert "model: runs/shakespeare/checkpoint.safetensors" in out
    assert [m[1] for m in re.finditer(r"── step (\d+): (\d+) tokens", out)] == ["1", "2", "3"]
    shares = [float(s) for s in re.findall(r" (\d+\.\d)% [█▏▎▍▌▋▊▉]*$", out, re.M)]
    assert len(shares) == 12 and shares[:4] == sorted(shares[:4], reverse=True)
    for chart, chosen in re.findall(r"(?s)── step.*?tokens(.*?)chosen: (.)", out):
        assert all(line.split()[1] == chosen for line in chart.split("\n") if "→" in line)
    assert out.count("   chosen: ") == 3


def test_next_token_writes_what_sampling_writes(run, folder):
    from models import training
    from models.generation import sampling

    _, out, _ = run("next_token", "--length", 9, "--seed", 5, "--temperature", 1.2, pictures=NEXT)
    path = folder / "runs/shakespeare/checkpoint.safetensors"
    model, tokenizer = training.model_from(training.load_checkpoint(path))
    (text,) = sampling.complete(model, tokenizer, "the cat ", 9, seed=5, temperature=1.2)
    assert f"\nthe cat {text}\n" in out


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="no pseudo-terminals on this system")
def test_next_token_waits_for_a_key_in_a_terminal(run, monkeypatch):
    master, slave = os.openpty()
    with open(slave) as terminal:
        monkeypatch.setattr(sys, "stdin", terminal)
        os.write(master, b" q")
        _, out, _ = run("next_token", "--length", 30, pictures=NEXT)
    os.close(master)
    assert out.count("space: append it    q: stop") == 2 == out.count("── step")


def test_next_token_at_four_temperatures(run):
    pictures = files("next_token", "temperatures.png", "temperatures.html")
    _, out, _ = run("next_token", "--compare", "--length", 12, pictures=pictures)
    head = out.split("\n")[1]
    assert head.split() == "temperature 0 temperature 0.3 temperature 1 temperature 2".split()
    assert out.count("100%") >= 1 and out.count("the cat") == 4


def test_a_keyboard_with_three_suggestions(run, monkeypatch):
    import io

    monkeypatch.setattr(sys, "stdin", io.StringIO("2x?1\n"))
    code, out, _ = run("next_token", "--keyboard")
    assert code == 0
    menus = re.findall(r"^    \[1\] (.*)   \[2\] (.*)   \[3\] (.*)    \(1 2 3", out, re.M)
    assert len(menus) >= 3 and all(len(set(menu)) == 3 for menu in menus)
    assert f"the cat {menus[0][1]} " in out and "is not among" in out  # 2 was picked; x, ? unknown
    assert out.endswith(" \n")


# ---- attention ---------------------------------------------------------------------------------


def test_animate_attention(run):
    pictures = files("attention", "attention.png", "attention.gif", "attention.html")
    _, out, _ = run("animate_attention", "--length", 4, "--arrows", 2, pictures=pictures)
    rows = re.findall(r"^(the␣cat␣.*) → .\n( *[▲ │]+)\n( *└.*┘|.*╵) (.*%)$", out, re.M)
    assert len(rows) == 4
    for text, heads, _, told in rows:
        marks = [text[i] for i, c in enumerate(heads) if c == "▲"]
        assert marks == [part.split()[0] for part in told.split(", ")] and len(marks) == 2
    if PICTURES:
        from PIL import Image

        with Image.open(pictures[1]) as film:
            assert film.n_frames == 4


def test_letters_that_no_font_has_are_drawn_without_a_word():
    """As boxes, in pictures and in films."""
    pytest.importorskip("matplotlib")
    figure = showing.figure(1, 1)
    figure.text(0, 0, "日本")
    assert showing.gif([showing.png(figure)] * 2, [50, 50]).startswith(b"GIF89a")


def test_attention_grows_row_by_row():
    demo = program("animate_attention")

    class Heard:
        def __init__(self, weights):
            self.weights = mt.tensor(weights)

    first = np.tril(np.ones((1, 2, 3, 3), np.float32))
    w = demo.grown(None, [Heard(first), Heard(2 * first)], 3)
    row = np.full((1, 2, 1, 4), 0.25, np.float32)
    with_cache = demo.grown(w, [Heard(row), Heard(row)], 4)
    assert with_cache.shape == (2, 2, 4, 4)
    assert (with_cache[:, :, :3, :3] == w).all() and (with_cache[:, :, 3] == 0.25).all()
    whole = np.concatenate([with_cache[:1], with_cache[1:]])
    again = demo.grown(w, [Heard(whole[:1]), Heard(whole[1:])], 4)  # a model without a cache
    assert (again == with_cache).all()
    with pytest.raises(ValueError, match="no attention"):
        demo.grown(None, [], 3)


# ---- inference ---------------------------------------------------------------------------------


def test_visualize_inference(run):
    pictures = files("inference", "inference.png", "inference.html")
    _, out, _ = run("visualize_inference", "--length", 5, "--show", 3, pictures=pictures)
    lines = re.findall(r"^ +\d+ [ +] . → .*$", out, re.M)
    assert len(lines) == 13 and all(line.count("%") == 3 for line in lines)
    assert sum(bool(re.search(r"→ +\d+%\*", line)) for line in lines[-6:]) == 5  # greedy: the first
    assert re.search(r"the prompt's tokens after the first, \d of 7 were the first guess", out)


def test_the_logit_lens(run):
    pictures = files("inference", "logit_lens.png", "logit_lens.html")
    _, out, _ = run("visualize_inference", "--logit-lens", "--length", 3, pictures=pictures)
    rows = dict(re.findall(r"^ *(text|embedding|layer \d) │ (.{21})$", out, re.M))
    assert list(rows) == ["text", "embedding", "layer 1", "layer 2", "layer 3"]
    assert rows["text"].split() == list("the␣cat␣") + rows["layer 3"].split()[7:10]  # greedy


def test_saliency(run):
    pictures = files("inference", "saliency.png", "saliency.html")
    _, out, _ = run("visualize_inference", "--saliency", "--length", 3, pictures=pictures)
    assert len(re.findall(r"^the␣cat␣.* → .    \(. [+-]\d\.\d\d, ", out, re.M)) == 3
    if PICTURES:
        page = Path(pictures[1]).read_text()  # the strongest, up or down, has the full colour
        assert "background:rgb(214, 62, 62)" in page or "background:rgb(58, 110, 214)" in page


def test_saliency_of_a_prompt_alone(run):
    pictures = files("inference", "saliency.png", "saliency.html")
    _, out, _ = run("visualize_inference", "--saliency", "--length", 0, pictures=pictures)
    assert re.search(r"^the␣cat␣ → \?", out, re.M)


def test_a_model_whose_context_slides_reads_a_text_of_any_length(run, folder):
    tokenizer = CharTokenizer.from_text(TEXT)
    rung = RUNGS["tiny_lm"]
    parts = data.split(tokenizer.encode_array(TEXT), 8)
    model = rung.build(tokenizer.vocab_size, d_hidden=4)
    checkpoint = folder / "runs" / "tiny_lm" / "checkpoint.safetensors"
    checkpoint.parent.mkdir()
    mt.save(Trainer(model, tokenizer, *parts, rung.training()).state_dict(), checkpoint)
    args = ["--model", checkpoint.parent, "--length", 3, "--prompt", "the cat sat "]
    for flags, name in ([], "inference"), (["--saliency"], "saliency"):
        pictures = files("inference", f"{name}.png", f"{name}.html")
        run("visualize_inference", *args, *flags, prompt=None, pictures=pictures)
    code, _, err = run("animate_attention", *args, prompt=None)
    assert (code, err) == (2, "animate_attention.py: this model computes no attention\n")


# ---- word order --------------------------------------------------------------------------------


def test_word_order(run):
    pictures = files("word_order", "word_order.png", "word_order.html")
    _, out, _ = run("word_order", "--steps", 25, prompt=None, pictures=pictures)
    verdicts = re.findall(r"(the same, but for rounding|another prediction): prob", out)
    same = "the same, but for rounding"
    assert verdicts == ["another prediction", same, same, "another prediction"]
    readers = out.split("── ")
    assert re.search(r"dog bites the man: dog +\d\.\d%   man +[789]\d", readers[1])
    assert re.search(r"man bites the dog: dog +[789]\d\.\d%", readers[1])


# ---- markup in texts ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, flags, page",
    [
        ("next_token", [], "next_token/next_token.html"),
        ("animate_attention", [], "attention/attention.html"),
        ("visualize_inference", ["--saliency"], "inference/saliency.html"),
        ("visualize_inference", ["--logit-lens"], "inference/logit_lens.html"),
    ],
)
@pytest.mark.skipif(not PICTURES, reason="matplotlib, which the pages need, is not installed")
def test_a_text_is_never_markup(run, monkeypatch, name, flags, page):
    monkeypatch.setattr(showing, "png", lambda figure, dpi=0: b"a picture")
    monkeypatch.setattr(showing, "gif", lambda pictures, milliseconds: b"a film")
    code, *_ = run(name, *flags, "--length", 1, prompt="</t><&t>")
    text = Path("runs", page).read_text()
    assert code == 0 and "</t><" not in text and "<&" not in text


# ---- what is refused ---------------------------------------------------------------------------

DEMOS_OF_MODELS = ["next_token", "animate_attention", "visualize_inference"]


@pytest.mark.parametrize("name", DEMOS_OF_MODELS)
@pytest.mark.parametrize(
    "args, complaint",
    [
        (["--prompt", ""], "the prompt is empty"),
        (["--prompt", "Q?"], "'Q' at index 0 (line 1, column 1) is not among"),
        (["--prompt", "the cat " * 5], "the prompt has 40 tokens, but the model sees 32 at once"),
        (["--temperature", "-1"], "temperature must be 0 (greedy) or a positive number, got -1.0"),
        (["--top-p", "0"], "top_p must be above 0 and at most 1, got 0.0"),
        (["--top-p", "1.5"], "top_p must be above 0 and at most 1, got 1.5"),
        (["--top-k", "500"], "the vocabulary, got 500"),
        (["--min-p", "2"], "min_p must be within 0 … 1, got 2.0"),
        (["--length", "-1"], "length must be"),
        (["--length", "many"], "--sample-length: invalid int value: 'many' (see --help)"),
        (["--nonsense"], "unrecognized arguments: --nonsense; did you mean"),
        (["--model", "text.txt"], "text.txt"),
    ],
)
def test_what_cannot_be_meant_is_one_line(run, name, args, complaint):
    if name == "visualize_inference" and args == ["--length", "-1"]:
        complaint = "--length must be at least 0"
    if "--model" in args:
        args = [*args, "--data", "nowhere.txt"]
        complaint = "nowhere.txt"
    prompt = None if "--prompt" in args else "the cat "
    code, _, err = run(name, *args, prompt=prompt)
    assert code == 2 and err.startswith(f"{name}.py: ") and err.count("\n") == 1
    assert complaint in err or "--length and --show must be at least 1" in err


@pytest.mark.parametrize(
    "name, args, complaint",
    [
        ("animate_attention", ["--layer", 4], "layer must be within 1 … 3, got 4"),
        ("animate_attention", ["--head", 0], "head must be within 1 … 2, got 0"),
        ("animate_attention", ["--length", 30], "length must be within 1 … 24, what the context"),
        ("animate_attention", ["--arrows", 0], "arrows must be at least 1, got 0"),
        ("visualize_inference", ["--length", 30], "--length 24 is the most"),
        ("visualize_inference", ["--logit-lens", "--saliency"], "not allowed with argument"),
        ("next_token", ["--show", 0], "--length and --show must be at least 1"),
        ("next_token", ["--auto", "-1"], "--auto takes seconds, 0 or more, got -1"),
        ("next_token", ["--auto", "nan"], "--auto takes seconds, 0 or more, got nan"),
        ("next_token", ["--out", "text.txt"], "--out text.txt is a file; a folder is needed"),
    ],
)
def test_what_one_demo_refuses(run, name, args, complaint):
    code, _, err = run(name, *args)
    assert code == 2 and complaint in err and err.count("\n") == 1


@pytest.mark.parametrize(
    "args, complaint",
    [
        (["--words", "dog", "dog"], "--words must be two of dog, man, cat, fox, bear, wolf"),
        (["--words", "dog", "cow"], "got dog cow"),
        (["--steps", "0"], "steps must be at least 1, got 0"),
        (["--words", "dog"], "argument --words: expected 2 arguments (see --help)"),
    ],
)
def test_word_order_refuses(run, args, complaint):
    code, _, err = run("word_order", *args, prompt=None)
    assert code == 2 and complaint in err and err.count("\n") == 1


# ---- a model -----------------------------------------------------------------------------------


def test_without_a_checkpoint_a_small_model_is_trained_and_kept(run, monkeypatch):
    monkeypatch.setattr(showing, "SMALL", {"context_length": 16, "d_model": 8, "n_heads": 2})
    args = ["--model", "nothing", "--data", "text.txt", "--train-steps", 2, "--length", 1]
    _, out, _ = run("next_token", *args, pictures=NEXT)
    assert "there is no checkpoint in nothing; a small model is trained" in out
    assert "step 2/2: loss" in out
    _, out, _ = run("next_token", *args, pictures=NEXT)
    assert out.startswith("model: runs/small/checkpoint.safetensors\n")


@pytest.mark.parametrize("name", DEMOS_OF_MODELS)
@pytest.mark.parametrize("flag, value", [("--prompt", ""), ("--top-p", 0), ("--temperature", -1)])
def test_what_no_model_could_follow_is_told_before_one_is_trained(run, name, flag, value):
    code, out, err = run(name, "--model", "nothing", "--data", "text.txt", flag, value, prompt=None)
    assert (code, out) == (2, "") and err.count("\n") == 1


def test_a_training_that_is_broken_off_leaves_nothing(run, monkeypatch):
    monkeypatch.setattr(showing, "SMALL", {"context_length": 16, "d_model": 8, "n_heads": 2})
    monkeypatch.setattr(Path, "exists", lambda path: False)

    def stop(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(Trainer, "train_step", stop)
    monkeypatch.setattr(mt, "save", lambda *_: pytest.fail("saved"))
    code, _, _ = run("next_token", "--data", "text.txt")
    assert code == 130


# ---- text in colours ---------------------------------------------------------------------------


def test_colours_in_the_terminal():
    white, red, blue = (f"\033[48;2;{c}m\033[38;2;0;0;0m" for c in (
        "255;255;255", "214;62;62", "58;110;214"
    ))  # fmt: skip
    assert showing.shaded("abc", [0, 1, -1]) == f"{white}a{red}b{blue}c\033[0m"
    assert showing.shaded("abc", [0, 1, -1], colored=False) == "abc"
    assert showing.spans("<b", [1, -1]).count("background:rgb(214, 62, 62)") == 1


@pytest.mark.parametrize(
    "share, bar", [(0, ""), (0.5, "██"), (1, "████"), (0.28, "█▏"), (1 / 32, "▏")]
)
def test_bars_have_eighths(share, bar):
    assert showing.bar(share, 4) == bar


def test_every_character_can_be_seen():
    assert showing.visible("a b\n\t\r\x1b[0m") == "a␣b↵→↵�[0m"
