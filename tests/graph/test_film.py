"""Films of backpropagation: as many frames as operations, and no number but the engine's own."""

import io
import math
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from PIL import Image, ImageColor
from places import DEMOS

import microtensor as mt
from microtensor import nn, optim
from microtensor.graph import Film, film, render
from microtensor.graph.flow import kind_of, size_of
from microtensor.graph.labels import as_number
from microtensor.nn import functional as F


def leaf(value, **kwargs):
    return mt.tensor(value, requires_grad=True, **kwargs)


def nodes(output):
    """How many operations there are behind a tensor, counted by hand."""
    seen, stack = set(), [output.grad_fn]
    while stack:
        node = stack.pop()
        if node not in seen:
            seen.add(node)
            stack += [n for n, _ in node.next_functions if n is not None and hasattr(n, "op")]
    return len(seen)


def chain():
    a, b, c = leaf(2.0), leaf(-0.5), leaf(1.3)
    return (a * b + c).tanh(), {"a": a, "b": b, "c": c}


def twice():
    x, w = leaf(3.0), leaf(-2.0)
    h = x * w
    return h * h + x + x, {"x": x, "w": w}


def batch():
    x, w, b = mt.tensor([[1.0, 2.0], [0.0, -1.0]]), leaf([[0.5, -0.2]]), leaf([0.1])
    return (F.linear(x, w, b) ** 2).mean(), {"w": w, "b": b}


def broadcast():
    a, b = leaf([[1.0], [2.0]]), leaf([3.0, 4.0, 5.0])
    return (a * b + a).sum(), {"a": a, "b": b}


def several_results():
    x, y = leaf([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]), leaf([2.0, 7.0])
    first, _, last = x.unbind(0)
    return (first * last * y).sum() + mt.cat([first, y]).prod(), {"x": x, "y": y}


def one_pullback_for_all():
    x, w, b = leaf([[1.0, -2.0, 4.0]]), leaf([1.0, 2.0, 0.5]), leaf([0.1, 0.2, 0.3])
    return (F.layer_norm(x, (3,), w, b) ** 3).sum(), {"x": x, "w": w, "b": b}


def changed_in_place():
    a, b = leaf([1.0, 2.0, 3.0]), leaf(2.0)
    x = a * 1
    x += b
    x[0] = 5.0
    view = x[1:]
    view *= b
    return (x * x).sum(), {"a": a, "b": b}


def indexed():
    table, index = leaf([[1.0, 2.0], [3.0, 4.0]]), mt.tensor([1, 1, 0])
    return (F.embedding(index, table) ** 2).sum(), {"table": table}


def large():
    x, w = mt.arange(40.0).reshape(8, 5) / 10, leaf(np.linspace(-1, 1, 25).reshape(5, 5))
    return (x.double() @ w).tanh().sum(), {"w": w}


def nans():
    x, y = leaf([-1.0, 0.0]), leaf(1.0)
    return x.sqrt().sum() * y, {"x": x, "y": y}


def no_gradient():
    x = leaf([1.5, 2.5])
    return (x.round() * x).sum(), {"x": x}


MAKERS = [
    chain, twice, batch, broadcast, several_results, one_pullback_for_all, changed_in_place,
    indexed, large, nans, no_gradient,
]  # fmt: skip


@pytest.mark.parametrize("make", MAKERS)
def test_frames_are_operations_and_the_last_shows_what_backward_leaves(make, tmp_path):
    loss, leaves = make()
    reel = film(loss, names=leaves)
    assert len(reel.forward) == len(reel.backward) == nodes(loss)
    assert len(reel) == 2 * nodes(loss)
    assert all(t.grad is None for t in leaves.values())
    loss.backward()
    last = reel.frames[-1]
    for name, t in leaves.items():
        np.testing.assert_array_equal(last.named[name], t.grad.numpy())
    # and in the picture: every gradient in a box is that of its tensor, digit by digit
    folder = render(reel, tmp_path / "film")
    files = sorted(folder.iterdir())
    assert len(files) == len(reel)
    drawn = grads_drawn(files[-1])
    for t in leaves.values():
        if t.numel() <= 16:
            digits = 4 if t.ndim == 0 else 3
            words = [as_number(g, digits) for g in t.grad.reshape(-1).tolist()]
            assert contains(drawn, words), words


def grads_drawn(path):
    """The gradients that are written in the boxes of a frame; of a sum, its result."""
    root = ET.fromstring(path.read_bytes())
    return [e.text.split(" = ")[-1] for e in root.iter() if e.get("class") == "grad"]


def contains(words, part):
    return any(words[i : i + len(part)] == part for i in range(len(words)))


def test_every_number_of_the_last_frame(tmp_path):
    """Intermediate gradients too: what retain_grad keeps, in every box."""
    a, b, c = leaf(2.0), leaf(-0.5), leaf(1.3)
    m = a * b
    s = m + c
    y = s.tanh()
    reel = film(y)
    for t in (m, s, y):
        t.retain_grad()
    y.backward()
    assert set(reel.frames[-1].named) == {"a", "b", "c", "m", "s", "y"}
    drawn = grads_drawn(sorted(render(reel, tmp_path / "f").iterdir())[-1])
    expected = [as_number(t.grad.item(), 4) for t in (a, b, c, m, s, y)]
    assert sorted(drawn) == sorted(expected)


def test_a_frame_shows_gradient_times_local_derivative():
    a, b = leaf(2.0), leaf(-3.0)
    y = (a * b).exp()
    tail = film(y).frames[-1]
    rows = [[block for block in row if not isinstance(block, str)] for row in tail.rows]
    e = np.exp(np.float32(-6))
    for row, factor in zip(rows, (-3.0, 2.0)):
        arrived, local, product, total = (block[1] for block in row)
        assert arrived == e and local == factor and product == total == e * np.float32(factor)
    assert "∂a = g b" in rows[0][1] and "∂b = g a" in rows[1][1]


def test_local_derivatives_of_vectors():
    x = leaf([0.5, -1.0, 2.0])
    reel = film(x.softmax(0)[0])
    (row,) = reel.frames[-1].rows
    heading, jacobian, _, note = row[2]
    p = x.softmax(0).detach().numpy()
    np.testing.assert_allclose(jacobian, np.diag(p) - np.outer(p, p), atol=1e-7)
    assert heading == "local derivative 3 × 3" and note.startswith("∂x = y")
    (row,) = film(x.exp().sum()).frames[-1].rows
    np.testing.assert_array_equal(row[2][1], x.exp().detach().numpy())  # element by element
    assert row[1] == "⊙"


def test_a_matrix_product_is_shown_as_one():
    a, b = leaf([[1.0, 2.0, 3.0]]), leaf([[0.5, -1.0], [2.0, 0.0], [1.0, 4.0]])
    rows = film((a @ b).exp().sum()).frames[-1].rows
    for row, local, at in zip(rows, (b.detach().numpy().T, a.detach().numpy().T), (2, 0)):
        assert row[at][1].tolist() == local.tolist() and row[at][0].startswith("local derivative")
        np.testing.assert_allclose(row[0][1] @ row[2][1], row[4][1], rtol=1e-6)
    bias = film((mt.ones(2, 3) * leaf([[1.0, 2.0, 3.0]])).sum()).frames[-1].rows[0]
    assert bias[1] != "@"  # g b, but element by element


def test_where_gradients_meet_the_sum_is_shown(tmp_path):
    x = leaf(3.0)
    reel = film(x * 2 + x * 5)
    told = " ".join(f.caption for f in reel.frames)
    assert re.search(r"they are added, (2 \+ 5|5 \+ 2) = 7", told)
    words = "".join(ET.fromstring(render(reel, tmp_path / "last.svg").read_bytes()).itertext())
    assert re.search(r"(2 \+ 5|5 \+ 2) = 7", words)


def test_a_gradient_that_never_comes():
    @mt.op
    def first_for_film(a, b):
        return a + b, (lambda g: g, None)

    x = leaf(1.5)
    reel = film(first_for_film(x, x.exp()))
    assert [f.operation for f in reel.frames] == ["exp", "first_for_film", "first_for_film", "exp"]
    assert "no gradient comes" in reel.frames[-1].caption
    assert reel.frames[-1].named["x"] == 1.0


def test_the_gradient_of_several_elements_is_given():
    x = leaf([1.0, 2.0])
    with pytest.raises(RuntimeError, match="pass a gradient"):
        film(x * 3)
    reel = film(x * 3, gradient=mt.tensor([1.0, 10.0]))
    assert reel.frames[-1].named["x"].tolist() == [3.0, 30.0]
    assert "was given" in reel.backward[0].caption


def test_the_stage_stays_put(tmp_path):
    loss, names = batch()
    reel = film(loss, names=names)
    places = []
    for frame in reel.frames:
        boxes = [s for group in frame.shapes for s in group if s[0] == "box" and s[4] > 20]
        places.append({s[1:5] for s in boxes})
    count = len(names) + 1 + nodes(loss)
    assert all(len(set.intersection(*places) & here) >= count for here in places)


def test_hooks_and_kept_gradients_are_as_in_backward():
    x = leaf(2.0)
    h = x * 3
    h.retain_grad()
    h.register_hook(lambda g: g * 10)
    y = h * h
    reel = film(y)
    assert h.grad is None and x.grad is None
    y.backward()
    assert reel.frames[-1].named["x"] == x.grad.item() == 360.0
    assert reel.frames[-1].named["h"] == h.grad.item() == 120.0


def test_the_graph_is_as_before():
    x = leaf(2.0)
    y = x.exp() * x
    before = [y.grad_fn.pullback, y.grad_fn.inputs[0].grad_fn.pullback]
    film(y)
    assert [y.grad_fn.pullback, y.grad_fn.inputs[0].grad_fn.pullback] == before
    bad = leaf([1.0, 2.0]) * 3
    before = bad.grad_fn.pullback
    with pytest.raises(RuntimeError):
        film(bad)
    assert bad.grad_fn.pullback is before


def test_a_film_of_training():
    x, target = mt.tensor(2.0), mt.tensor(1.0)
    w, b = leaf(0.1), leaf(0.0)
    start = w.item(), b.item()

    def loss():
        y = x * w + b
        return (y - target) ** 2

    reel = film(loss, optimizer=optim.SGD([w, b], lr=0.09), steps=2)
    assert [f.phase for f in reel.frames] == (["forward"] * 4 + ["backward"] * 4 + ["update"]) * 2
    by_hand = [leaf(v) for v in start]
    optimizer = optim.SGD(by_hand, lr=0.09)
    for _ in range(2):
        optimizer.zero_grad()
        ((x * by_hand[0] + by_hand[1] - target) ** 2).backward()
        optimizer.step()
    assert [w.item(), b.item()] == [p.item() for p in by_hand]
    assert [reel.frames[-1].named[n] for n in "wb"] == [p.grad.item() for p in by_hand]
    assert "loss was 0.64 and then 0.0064" in reel.frames[-1].caption
    with pytest.raises(TypeError, match="function that computes"):
        film(loss(), optimizer=optimizer)
    with pytest.raises(ValueError, match="optimizer"):
        film(loss, steps=2)


def test_variables_of_the_function_lend_their_names():
    model, x = nn.Linear(2, 1), mt.ones(1, 2)

    def error():
        y = model(x)
        return (y**2).sum()

    reel = film(error, params=model)
    assert {"weight", "bias", "y", "error"} <= set(reel.frames[-1].named)
    words = [shape[3] for group in reel.frames[0].shapes for shape in group if shape[0] == "text"]
    assert any(w.startswith("test_film.py:") and "y = model(x)" in w for w in words)


def test_the_page_needs_no_network(tmp_path):
    loss, names = chain()
    reel = film(loss, names=names, title="<b>Strange</b> & </script>")
    page = render(reel, tmp_path / "film.html").read_text("utf-8")
    assert not re.search(r"(src|href)=|@import|https?://", page)
    assert page.count("</script>") == 2 and "&lt;b&gt;Strange" in page
    for frame in reel.frames:
        assert frame.caption in page
    for control in ("play", "back", "forth", "first", "last"):
        assert f'id="{control}"' in page
    assert "iframe srcdoc" in reel._repr_html_()


def test_the_animation(tmp_path):
    loss, names = chain()
    reel = film(loss, names=names, theme="dark")
    with Image.open(io.BytesIO(render(reel, tmp_path / "film.gif").read_bytes())) as image:
        assert (image.n_frames, image.size) == (len(reel), (reel.width, reel.height))
        assert image.info["loop"] == 0
        image.seek(len(reel) - 1)  # every colour keeps its meaning
        seen = {color for _, color in image.convert("RGB").getcolors(1 << 24)}
        assert {ImageColor.getrgb(c) for c in (reel.theme.gradient, reel.theme.active)} <= seen
    with Image.open(render(reel, tmp_path / "film.png")) as image:
        assert image.size == (reel.width * 3 // 2, reel.height * 3 // 2)


def test_a_folder_keeps_no_frames_of_an_older_film(tmp_path):
    folder = tmp_path / "film"
    render(film(twice()[0]), folder)
    (folder / "notes.svg").write_text("")
    render(film(leaf(1.0).exp()), folder)
    assert sorted(path.name for path in folder.iterdir()) == ["1.svg", "2.svg", "notes.svg"]


def test_other_files_are_refused(tmp_path):
    loss, _ = chain()
    with pytest.raises(ValueError, match="a film becomes .html, .gif"):
        render(film(loss), tmp_path / "film.mp4")
    with pytest.raises(ValueError, match="theme is paper, slides, dark"):
        film(loss, theme="pink")


def test_what_stands_out():
    kinds = [None, [0.0, 0.0], [np.nan], [np.inf, 1], [1e-9, 0], [1e5], [0.1]]
    found = [kind_of(g if g is None else np.array(g)) for g in kinds]
    assert found == ["missing", "zero", "nan", "nan", "vanishing", "exploding", ""]
    assert size_of(np.full((3, 4), 1e200)) == pytest.approx(1e200)
    assert math.isnan(size_of(np.array([1.0, np.nan]))) and size_of(np.zeros(0)) == 0


def test_the_demo(tmp_path):
    demo = str(DEMOS / "backprop_film.py")
    command = [sys.executable, os.path.abspath(demo), "--out", "films"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    files = {path.stem: path.read_text("utf-8") for path in (tmp_path / "films").iterdir()}
    assert set(files) == {"neuron", "shared", "softmax", "linear", "attention", "training"}
    assert all("every gradient is there" in page.lower() for page in files.values())
    done = subprocess.run([*command, "nothing"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.count("\n") == 1


def test_a_film_is_a_film():
    loss, _ = chain()
    assert isinstance(film(loss), Film)


@pytest.mark.parametrize("kind", ["gif", "png"])
def test_pictures_need_pillow(kind, tmp_path, monkeypatch):
    reel = film(leaf(2.0) * 3)
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ImportError, match=r'pip install -e "\.\[viz\]"'):
        render(reel, tmp_path / f"film.{kind}")


def test_what_is_no_tensor_has_no_film():
    for show in (film, mt.graph.draw):
        with pytest.raises(TypeError, match="a Tensor is needed, got int"):
            show(lambda: 3)
