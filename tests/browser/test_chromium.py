"""Every kind of page with every hostile string, opened in Chromium: nothing runs or is fetched."""

from collections import Counter
from pathlib import Path

import pytest
from hostile import Page, demo_pages, library_pages, model_pages, squeezed

from microtensor.utils.pages import Script, page

LISTEN = """
window.hits = 0;
window.ran = window.alert = window.print = () => { window.hits++ };
document.addEventListener("securitypolicyviolation", () => { window.hits++ });
"""

# all that is written on a page: also in the frames of a film that are not its last
WRITTEN = """() => {
  const visible = document.body ? document.body.innerText : "";
  const more = [...document.querySelectorAll("text, .frame")].map(e => e.textContent);
  return [visible, ...more].join("");
}"""

USE = """() => {
  for (const e of document.querySelectorAll("button, #rows span, g.folded, input[type=range]")) {
    for (const kind of ["mouseover", "mousemove", "click", "input"])
      e.dispatchEvent(new MouseEvent(kind, {bubbles: true, clientX: 50, clientY: 50}));
  }
}"""


class Visitor:
    """A tab that opens pages one by one, and notes what went wrong on each."""

    def __init__(self, browser, folder):
        self.context, self.folder, self.opened = browser.new_context(), Path(folder), Counter()
        self.context.add_init_script(LISTEN)
        self.tab = self.context.new_page()
        self.wrong, self.here = [], None
        tab = self.tab
        self.context.on("page", lambda other: self.note("opened another page"))
        tab.on("dialog", lambda d: (self.note(f"dialog: {d.message}"), d.dismiss()))
        tab.on("console", lambda m: self.note(f"console: {m.text}"))
        tab.on("pageerror", lambda e: self.note(f"error: {e}"))
        tab.on("request", self.requested)
        tab.on("crash", lambda _: self.note("crashed"))

    def note(self, words):
        self.wrong.append(f"{self.here}: {words}"[:300])

    def requested(self, request):
        if not request.url.startswith("data:") and request.url != self.address:
            self.note(f"asked for {request.url}")

    def visit(self, page):
        self.opened[page.kind] += 1
        self.here = f"{page.kind} {self.opened[page.kind]}"
        file = self.folder / f"page{page.suffix}"
        file.write_text(page.html, "utf-8")
        self.address = file.as_uri()
        self.tab.goto(self.address)
        title = self.tab.title()
        if page.title is not None and squeezed(title) != squeezed(page.title):
            self.note(f"its title is {title!r}, not {page.title!r}")
        written = squeezed("".join(frame.evaluate(WRITTEN) for frame in self.tab.frames))
        drawn = [squeezed(text) for text in self.tab.evaluate(page.variable)]  # in a <canvas>
        for text, n in Counter(map(squeezed, page.texts)).items():
            if written.count(text) < n and text not in drawn:
                self.note(f"{text!r} is not to be read in {written[:200]!r}")
        for script in USE, "window.hits":
            for frame in self.tab.frames:
                if frame.evaluate(script):
                    self.note("something ran, or was stopped by the policy")


@pytest.fixture
def visitor(browser, tmp_path):
    visitor = Visitor(browser, tmp_path)
    yield visitor
    visitor.context.close()


def visit(visitor, pages, kinds):
    for each in pages:
        visitor.visit(each)
    print("opened:", sum(visitor.opened.values()), dict(visitor.opened))
    assert visitor.wrong == []
    assert len(visitor.opened) == kinds and sum(visitor.opened.values()) > kinds


def test_the_pages_of_the_library(visitor, tmp_path):
    visit(visitor, library_pages(tmp_path), kinds=8)


def test_the_pages_of_models(visitor):
    visit(visitor, model_pages(), kinds=3)


def test_the_pages_of_demos(visitor, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    visit(visitor, demo_pages(tmp_path, monkeypatch), kinds=7)


def test_what_is_looked_for_is_found(visitor):
    """A page that is not safe is noticed, and the policy stops what came in by a mistake."""
    for markup in ("<img src=x onerror=ran()>", "<script>ran()</script>", "<b onclick=ran()>"):
        visitor.wrong.clear()
        visitor.visit(Page("unsafe", f"<!doctype html><button onclick=ran()>{markup}</button>"))
        assert any("something ran" in words for words in visitor.wrong)
        visitor.wrong.clear()
        ran = Script("ran = () => { document.title = 'ran' }")
        visitor.visit(Page("mistaken", page("as it was", ran, f"<button>{markup}</button>")))
        assert visitor.tab.title() == "as it was"
        assert any("Content Security Policy" in words for words in visitor.wrong)
