"""Embeddings in two dimensions: the geometry, the pictures, and the demo that makes them."""

import io
import json
import re

import numpy as np
import pytest
from places import program

import microtensor as mt
from models import MiniGPT, MiniGPTConfig
from models.inside import embedding_view
from models.text.data import split
from models.text.tokenizers import CharTokenizer
from models.training import Trainer, TrainingConfig

RNG = np.random.default_rng(0)


# ---- geometry ------------------------------------------------------------------------------------


def test_pca_is_that_of_the_singular_values():
    table = RNG.normal(size=(40, 6)) * [5, 1, 3, 1, 0.5, 0.1] + 7
    mean, axes, share = embedding_view.pca(table, 3)
    u, s, v = np.linalg.svd(table - table.mean(0), full_matrices=False)
    np.testing.assert_allclose(np.abs(axes @ v[:3].T), np.eye(3), atol=1e-9)
    np.testing.assert_allclose(share, s[:3] ** 2 / (s**2).sum())
    np.testing.assert_allclose(mean, table.mean(0))
    assert all(axis[np.abs(axis).argmax()] > 0 for axis in axes)
    coordinates = (table - mean) @ axes.T
    np.testing.assert_allclose(np.cov(coordinates.T), np.diag(s[:3] ** 2 / 39), atol=1e-9)


@pytest.mark.parametrize(
    "shape, n", [((3, 1), 2), ((1, 3), 2), ((0, 3), 1), ((3,), 1), ((3, 3), 0)]
)
def test_pca_of_too_little(shape, n):
    with pytest.raises(ValueError, match="pca: "):
        embedding_view.pca(np.zeros(shape), n)


def test_neighbours():
    table = np.array([[1, 0], [3, 0.1], [0, 1], [-1, 0], [0, 0]])
    near = embedding_view.neighbours(table, 0, 3)
    assert [j for j, _ in near] == [1, 2, 4]
    assert near[0][1] == pytest.approx(3 / np.hypot(3, 0.1)) and near[1][1] == near[2][1] == 0
    assert len(embedding_view.neighbours(table, 0, 99)) == 4


def test_groups():
    centres = np.eye(5)[:3] * [[9], [2], [4]]  # lengths do not count
    table = np.concatenate(
        [c + RNG.normal(size=(n, 5)) * 0.1 for c, n in zip(centres, (5, 20, 10))]
    )
    assert embedding_view.groups(table, 3).tolist() == [2] * 5 + [0] * 20 + [1] * 10
    assert len(set(embedding_view.groups(table[:2], 8).tolist())) <= 2


# ---- pictures ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def film():
    film = embedding_view.Film(["a", "<b>", "$c$", "d"], rows=[3, 1, 2, 5])
    for step in (0, 10, 20):
        film.add(step, mt.tensor(RNG.normal(size=(6, 5)), requires_grad=True))
    return film


def test_a_film_is_drawn_on_the_axes_of_its_end(film):
    points, share = film.points()
    assert points.shape == (3, 4, 2) and 0 < share.sum() <= 1
    np.testing.assert_allclose(points.mean(1), 0, atol=1e-12)
    last = film.tables[-1]
    np.testing.assert_allclose(np.linalg.norm(last, axis=1), 1)
    _, s, _ = np.linalg.svd(last - last.mean(0))
    np.testing.assert_allclose((points[-1] ** 2).sum(0), s[:2] ** 2)


def test_a_page_needs_no_other(film):
    page = embedding_view.as_page("Words", film)
    assert not re.search(r"https?:|src=|@import|url\(", page) and "<b>" not in page
    data = json.loads(re.search(r"const data = (.*?);\n", page)[1])
    assert data["labels"] == film.labels and data["steps"] == [0, 10, 20]
    assert np.shape(data["points"]) == (3, 4, 2) and np.min(data["points"]) >= 0
    for i, near in enumerate(data["near"]):
        assert i not in [j for j, _ in near] and len(near) == 3


def test_pictures(film):
    pytest.importorskip("matplotlib")
    Image = pytest.importorskip("PIL.Image")
    assert embedding_view.before_and_after(film).startswith(b"\x89PNG")
    gif = Image.open(io.BytesIO(embedding_view.gif(film, dpi=30)))
    assert gif.format == "GIF" and gif.n_frames == 3 and gif.info["loop"] == 0


# ---- the demo ------------------------------------------------------------------------------------


@pytest.fixture
def demo(monkeypatch, tmp_path):
    module = program("embeddings")
    monkeypatch.setattr(embedding_view, "before_and_after", lambda film: b"a picture")
    monkeypatch.setattr(embedding_view, "gif", lambda film: b"a film")
    monkeypatch.chdir(tmp_path)
    text = "the cat sat on a mat and the dog sat on a log " * 40
    (tmp_path / "tale").write_text(text)
    return module.main


FILES = {"before_and_after.png", "film.gif", "film.html"}


def test_words_are_learned_and_drawn(demo, capsys, tmp_path):
    few = ["--data", "tale", "--epochs", "2", "--frames", "4", "--out", "out"]
    assert demo([*few, "--like", "cat,Dog"]) == 0
    out = capsys.readouterr().out
    assert "520 words, 9 different ones" in out
    assert re.search(r"\n +cat  [a-z]+ -?\d\.\d\d", out) and re.search(r"\n +dog  ", out)
    assert {p.name for p in (tmp_path / "out").iterdir()} == FILES


def test_the_table_of_a_checkpoint(demo, tmp_path):
    text = (tmp_path / "tale").read_text()
    tokenizer = CharTokenizer.from_text(text)
    sizes = {"context_length": 8, "d_model": 8, "n_heads": 2, "n_layers": 1}
    mt.manual_seed(0)
    model = MiniGPT(MiniGPTConfig(vocab_size=tokenizer.vocab_size, **sizes))
    config = TrainingConfig(steps=2, batch_size=2, eval_every=1, eval_batches=1, eval_batch_size=2)
    parts = split(tokenizer.encode_array(text), 8)
    list(Trainer(model, tokenizer, *parts, config, tmp_path / "c.safetensors").run())
    assert demo(["--table", "c.safetensors", "c-1.safetensors", "--out", "out"]) == 0
    assert {p.name for p in (tmp_path / "out").iterdir()} == FILES
    assert '"steps": [0, 1, 2]' in (tmp_path / "out" / "film.html").read_text()


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--like", "zebra"], "'zebra' is not among the 9 words"),
        (["--min-count", "1000"], "the text has 0 words that occur 1000 times"),
        (["--epochs", "0"], "epochs must be at least 1"),
        (["--frames", "1"], "--frames must be at least 2"),
        (["--skip", "-1"], "--skip must not be negative"),
        (["--table", "tale"], "tale cannot be loaded"),
        (["--table", "none"], "none: No such file"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(demo, capsys, arguments, message):
    assert demo(["--data", "tale", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error and error.startswith("embeddings.py: ") and error.count("\n") == 1
