"""An installed package by itself, asked from a folder without a clone: `.ci/packages` runs this.

    python -I tests/support/installed.py README.md

It needs no other file of the tests, and only what microtensor itself requires.
"""

import contextlib
import importlib.metadata
import importlib.util
import io
import re
import sys
import warnings
from pathlib import Path

import microtensor as mt

WITHOUT_EXTRAS = {
    "fast": lambda: mt.backends.use("numba"),
    "fast, threads": lambda: mt.set_num_threads(1),
    "viz": lambda: mt.graph.render(_film(), "film.gif"),
    "demos": lambda: _recorder().save("training.png"),
}


def _film():
    x = mt.tensor(2.0, requires_grad=True)
    return mt.graph.film(lambda: x * x)


def _recorder():
    model = mt.nn.Linear(2, 1)
    recorder = mt.Recorder(model)
    loss = model(mt.ones(1, 2)).sum()
    loss.backward()
    recorder.step(loss)
    return recorder


def said(call):
    """What a call that cannot succeed says, as an error or as warnings."""
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        try:
            call()
        except (ImportError, RuntimeError, AttributeError) as error:
            return str(error)
    return "\n".join(str(warning.message) for warning in heard)


def check_names():
    """One name at the top; what dir() lists is there and public."""
    assert not (Path(mt.__file__).parents[1] / "pyproject.toml").exists(), "this is a clone"
    files = importlib.metadata.files("microtensor")
    tops = {file.parts[0] for file in files if not file.parts[0].endswith(".dist-info")}
    assert tops == {"microtensor"}, tops
    for name in ("models", "demos", "tests"):
        assert importlib.util.find_spec(name) is None, name
    assert importlib.metadata.version("microtensor") == mt.__version__
    for name in dir(mt):
        getattr(mt, name)
        assert not name.startswith("_") or name in mt.__all__ or name.startswith("__"), name


def check_first_page(readme):
    """The code of the README's first page runs, and prints what it says."""
    page = readme.split("\n## A first page\n")[1].split("\n## ")[0]
    namespace = {}
    for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        out = io.StringIO()
        with contextlib.redirect_stdout(out), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # where there is no Graphviz: checked below
            exec(compile(block, "README.md", "exec"), namespace)
        comments = re.findall(r"^print\(.*\)  # (.*)$", block, re.MULTILINE)
        for line, comment in zip(out.getvalue().splitlines(), comments):
            assert comment == line or comment.startswith(line + ":"), (line, comment)
    assert namespace["loss"].item() < 0.1
    assert Path("circle.safetensors").exists() and list(Path().glob("circle.svg*"))


def check_messages():
    """Messages advise what can be done without a clone, and point to files that are there."""
    for extra, call in WITHOUT_EXTRAS.items():
        message, extra = said(call), extra.split(",")[0]
        assert f'pip install "microtensor[{extra}]"' in message and "-e" not in message, message
        assert extra in importlib.metadata.metadata("microtensor").get_all("Provides-Extra")
    for place in (mt, mt.nn, mt.nn.functional, mt.optim, mt.utils.data):
        message = said(lambda place=place: place.fourier)
        assert Path(message.rpartition(": ")[2]).is_file(), message


def check_files():
    """What the package reads from its own folder came with it."""
    assert "softmax" in str(mt.explain("softmax"))
    mt.graph.render(_film(), "film.html")
    _recorder().save("training.html")


if __name__ == "__main__":
    readme = Path(sys.argv[1]).read_text("utf-8")
    check_names()
    check_first_page(readme)
    check_messages()
    check_files()
    print(f"microtensor {mt.__version__} from {Path(mt.__file__).parent} works by itself")
