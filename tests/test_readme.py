"""The code of the pages runs from top to bottom, and prints what it says."""

import contextlib
import io
import re

import pytest
from places import CLONE

PAGES = {
    name: (CLONE / name).read_text(encoding="utf-8")
    for name in ("README.md", "microtensor/README.md", "models/README.md")
}
LINKED = {*PAGES, "tests/benchmarks/README.md"}
QUOTATION = "@op(promote"


def blocks(page):
    return re.findall(r"```python\n(.*?)```", PAGES[page], re.DOTALL)


@pytest.fixture(scope="module", params=PAGES)
def run(request, tmp_path_factory):
    """(the page, its variables, the folder it ran in, its lines with what they printed)."""
    page, folder = request.param, tmp_path_factory.mktemp("page")
    namespace, printed = {}, []
    with contextlib.chdir(folder):
        for block in blocks(page):
            if block.startswith(QUOTATION):
                continue
            out = io.StringIO()
            with contextlib.redirect_stdout(out):
                exec(compile(block, page, "exec"), namespace)
            comments = re.findall(r"^print\(.*\)  # (.*)$", block, re.MULTILINE)
            printed += zip(out.getvalue().splitlines(), comments)
    return page, namespace, folder, printed


def test_blocks_run_in_order_and_print_their_comments(run):
    page, _, _, printed = run
    assert len(printed) == len(re.findall(r"^print\(.*\)  # ", PAGES[page], re.MULTILINE)) >= 1
    for line, comment in printed:
        assert comment == line or comment.startswith(line + ":")


def test_what_they_make_is_there(run):
    page, names, folder, _ = run
    if page == "README.md":
        assert float(names["loss"].item()) < 0.1
        assert (folder / "circle.safetensors").exists()
        assert list(folder.glob("circle.svg*")), "the picture, or its DOT text"
    elif page == "microtensor/README.md":
        assert (folder / "film.html").exists() and (folder / "film.gif").exists()
        assert len(list((folder / "film").glob("*.svg"))) == len(names["film"])
        assert (folder / "training.html").exists() and (folder / "tiny-gpt2").is_dir()
    else:
        assert (folder / "plays.tokens").exists() and (folder / "small.safetensors").exists()


def test_the_quotation_is_the_source():
    source = (CLONE / "microtensor/ops/elementwise.py").read_text(encoding="utf-8")
    for page in ("README.md", "microtensor/README.md"):
        quotes = [b for b in blocks(page) if b.startswith(QUOTATION)]
        assert len(quotes) == 1 and quotes[0] in source


@pytest.mark.parametrize("page", LINKED)
def test_its_links_lead_somewhere(page):
    text = (CLONE / page).read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)\s]+)\)", text)
    assert links
    for link in links:
        if link.startswith("https:"):
            continue
        path, _, place = link.partition("#")
        target = (CLONE / page).parent / path if path else CLONE / page
        assert target.exists(), link
        if place and not place.startswith("L"):
            titles = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            named = {re.sub(r"[^\w -]", "", t).strip().lower().replace(" ", "-") for t in titles}
            assert place in named, link
