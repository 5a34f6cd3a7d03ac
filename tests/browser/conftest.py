"""The browser that pages are opened in: Debian's Chromium, driven by playwright."""

import os
import shutil

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
NEEDED = "the pages are opened in Chromium, by playwright (pip install playwright)"


def missing(reason):
    """Without a browser there is nothing to test; in CI that is a failure."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{reason}; {NEEDED}")
    pytest.skip(f"{reason}; {NEEDED}")


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        missing("there is no Chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        missing("there is no playwright")
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()
