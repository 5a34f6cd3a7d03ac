"""The API reference, a page for each public module, from the docstrings:

    python .ci/reference.py [FOLDER]

FOLDER is runs/reference unless given; open its index.html. Needs the extra docs (pdoc). What pdoc
warns of is an error here: a signature that cannot be shown, a public name that is not there. So is
what Markdown would swallow or join: `<name>` outside of backticks, code that is not indented.
"""

import importlib
import inspect
import pkgutil
import re
import sys
import warnings
from pathlib import Path

CLONE = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(CLONE))  # this clone's modules, wherever the command is typed

# Modules of microtensor under the paths by which people import them.
PUBLIC = """autograd autograd.functional nn nn.functional nn.init nn.attention nn.utils nn.utils.rnn
nn.utils.prune nn.utils.parametrize nn.utils.parametrizations optim optim.lr_scheduler
optim.swa_utils utils.data linalg random amp func distributions library hub testing graph compat
weights backends backends.base""".split()


def pages():
    """The modules by the names of their pages."""
    names = ["microtensor", *(f"microtensor.{path}" for path in PUBLIC)]
    models = importlib.import_module("models")
    names += ["models", *(m.name for m in pkgutil.walk_packages(models.__path__, "models."))]
    return {name: importlib.import_module(name) for name in names if not name.endswith(".__main__")}


def public_names(module, name):
    """What a module without `__all__` shows: its own classes and functions, and its files'."""
    own = name, module.__name__
    return [
        key
        for key, value in vars(module).items()
        if not key.startswith("_")
        and (inspect.isclass(value) or inspect.isroutine(value))
        and any(f"{value.__module__}.".startswith(f"{place}.") for place in own)
    ]


def swallowed(docstring):
    """The lines that a reader of a page would not see as they were written."""
    lines = [re.sub(r"`[^`]*`", "", line) for line in docstring.split("\n")]
    code = re.compile(r"import |from \w+ import |[\w.]+ = \w+[\w.]*\(|>>> |for .*:$")
    return [line for line in lines if code.match(line) or re.match(r"(?! {4}).*<\w[^>]*>", line)]


def build(folder):
    """Write the pages. Raises on the first warning."""
    from pdoc import doc, render

    doc.safe_eval_type = lambda hint, *places: hint  # hints are shown as written; mypy holds them
    shown = {}
    for name, module in pages().items():
        if not hasattr(module, "__all__"):
            module.__all__ = public_names(module, name)
        for late in sorted(set(dir(module)) - vars(module).keys()):  # loaded when it is asked for
            if not inspect.ismodule(value := getattr(module, late)):
                setattr(module, late, value)
                module.__all__.append(late)
        module.__name__ = name  # not where its file is: microtensor.amp, not microtensor.compat.amp
        shown[name] = doc.Module(module)
        for member in (shown[name], *shown[name].flattened_own_members):
            for line in swallowed(member.docstring or ""):
                warnings.warn(f"{member.fullname}: {line}", stacklevel=2)
    render.configure(docformat="markdown", footer_text="microtensor")
    for name, module in shown.items():
        page = folder / f"{name.replace('.', '/')}.html"
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(render.html_module(module, shown), "utf-8")
    (folder / "index.html").write_text(render.html_index(shown), "utf-8")
    (folder / "search.js").write_text(render.search_index(shown), "utf-8")


if __name__ == "__main__":
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else CLONE / "runs" / "reference")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        build(folder)
    print(folder / "index.html")
