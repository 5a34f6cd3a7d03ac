"""The playground as a person meets it: every control by mouse and keyboard, while it trains."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time

import pytest
from hostile import WRITABLE
from places import CLONE

from models.serving.playground.sizes import MODEL, TRAINING, usual

TEXT = "the cat sat on the mat and the dog ate the hat of the rat\n" * 40
SLIDERS = {
    "Layers": 3,
    "Heads": 2,
    "Width": 32,
    "Context": 16,
    "Dropout": 0.1,
    "Learning rate": 0.003,
    "Batch size": 8,
    "Temperature": 0.5,
    "Top-k": 5,
    "Top-p": 0.9,
    "Min-p": 0.1,
}
USUAL = {**usual(MODEL), **usual(TRAINING)}
ASK = """([path, value]) => fetch("/api/" + path, {method: "POST", body: JSON.stringify(value),
    headers: {"Content-Type": "application/json"}}).then(r => r.json())"""
BUTTONS = ("Train", "Pause", "Step", "Reset", "Next token", "Write")


@pytest.fixture(scope="module")
def expect():
    return pytest.importorskip("playwright.sync_api").expect


@contextlib.contextmanager
def playground(folder):
    """A playground on a text of cats, in a process of its own: (its address, the process)."""
    pytest.importorskip("starlette")
    (folder / "cats.txt").write_text(TEXT)
    command = [sys.executable, "-m", "models", "playground", "--no-browser", "--port", "0"]
    process = subprocess.Popen(
        [*command, "--data", "cats.txt", "--out", "runs"], cwd=folder, text=True,
        env={**os.environ, "PYTHONPATH": str(CLONE)}, stdout=subprocess.PIPE,
    )  # fmt: skip
    try:
        yield re.search(r"http://127.0.0.1:\d+/", process.stdout.readline())[0], process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            process.wait(20)
        process.stdout.close()


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    with playground(tmp_path_factory.mktemp("playground")) as (address, _):
        yield address


@pytest.fixture
def tab(browser, address):
    """A tab on the playground, on a new model, that notes whatever is wrong."""
    context = browser.new_context(viewport={"width": 1280, "height": 720})
    page = context.new_page()
    page.wrong = []
    page.on("pageerror", lambda e: page.wrong.append(f"error: {e}"))
    page.on("dialog", lambda d: (page.wrong.append(f"dialog: {d.message}"), d.dismiss()))
    page.on("console", lambda m: m.type == "error" and "status of 4" not in m.text
            and page.wrong.append(f"console: {m.text}"))  # fmt: skip
    page.on("request", lambda r: r.url.startswith((address, "data:"))
            or page.wrong.append(f"asked for {r.url}"))  # fmt: skip
    page.goto(address)
    page.evaluate(ASK, ["text", {"text": TEXT, "name": "cats.txt"}])
    page.evaluate(ASK, ["settings", USUAL])
    page.reload()
    page.get_by_test_id("next-tokens").locator("li").first.wait_for()
    yield page
    assert page.wrong == []
    context.close()


def number(tab, name):
    return float(tab.get_by_test_id(name).inner_text().replace(",", ""))


def test_every_control_has_its_name(tab, expect):
    for name in SLIDERS:
        expect(tab.get_by_role("slider", name=name, exact=True)).to_be_visible()
    for name in BUTTONS:
        expect(tab.get_by_role("button", name=name)).to_have_count(1)
    expect(tab.get_by_role("textbox", name="Prompt")).to_be_visible()
    for name in ("parameter-count", "step", "loss", "validation-loss", "sample", "text"):
        expect(tab.get_by_test_id(name)).to_be_visible()
    assert re.fullmatch(r"[\d,]+", tab.get_by_test_id("parameter-count").inner_text())


def test_sliders_by_keyboard_and_the_count_at_once(tab, expect):
    layers = tab.get_by_role("slider", name="Layers")
    before = number(tab, "parameter-count")
    layers.focus()
    tab.keyboard.press("ArrowRight")
    expect(layers).to_have_value("3")  # one step a key
    assert number(tab, "parameter-count") > before
    counted = number(tab, "parameter-count")
    tab.wait_for_function(f"""fetch('/api/state').then(r => r.json())
        .then(state => state.parameter_count === {counted:.0f})""")
    tab.get_by_role("slider", name="Width").fill("48")
    tab.get_by_role("slider", name="Heads").fill("5")
    expect(tab.get_by_role("slider", name="Heads")).not_to_have_value("5")
    expect(tab.get_by_text("5 heads cannot share a width of 48 evenly")).to_be_visible()


def test_the_vocabulary_is_chosen_for_bpe_alone(tab, expect):
    slider = tab.get_by_role("slider", name="Vocabulary")
    expect(slider).to_be_disabled()
    expect(slider).to_have_value(str(len(set(TEXT))))
    tab.get_by_text("Choose another text").click()
    tab.locator("#kind").select_option("bpe")
    tab.locator("#typed").fill(TEXT)
    tab.get_by_role("button", name="Learn from these lines").click()
    expect(slider).to_be_enabled()
    slider.fill("272")
    expect(tab.locator("#text-about")).to_contain_text("of which 272 are different")
    state = tab.evaluate("fetch('/api/state').then(r => r.json())")
    assert number(tab, "parameter-count") == state["parameter_count"]


def test_a_training(tab, expect):
    for name in ("Width", "Context", "Batch size"):
        tab.get_by_role("slider", name=name).fill(str(SLIDERS[name]))
    tab.wait_for_timeout(300)
    tab.get_by_role("button", name="Step").click()
    expect(tab.get_by_test_id("step")).to_have_text("1")
    tab.get_by_role("button", name="Train").press("Enter")
    expect(tab.get_by_test_id("sample")).not_to_be_empty()
    expect(tab.locator("#chart polyline")).to_have_count(2)
    tab.get_by_role("slider", name="Learning rate").fill("0.003")
    tab.reload()
    expect(tab.get_by_role("button", name="Train")).to_have_attribute("aria-pressed", "true")
    tab.get_by_role("button", name="Pause").click()
    expect(tab.get_by_role("button", name="Train")).to_have_attribute("aria-pressed", "false")
    step = number(tab, "step")
    assert step > 1 and number(tab, "loss") < 4 and number(tab, "validation-loss") < 4
    state = tab.evaluate("fetch('/api/state').then(r => r.json())")
    assert state["step"] == step and state["settings"]["lr"] == 0.003
    tab.get_by_text("Earlier runs").click()
    tab.get_by_role("button", name="Reset").click()
    expect(tab.get_by_test_id("step")).to_have_text("0")
    tab.get_by_role("button", name="Load run").last.click()
    expect(tab.get_by_test_id("step")).to_have_text(f"{step:.0f}")


def test_next_tokens(tab, expect):
    prompt = tab.get_by_role("textbox", name="Prompt")
    prompt.fill("the cat")
    rows = tab.get_by_test_id("next-tokens").locator("li")
    expect(tab.get_by_test_id("text")).to_have_text("the cat")
    shown = rows.evaluate_all(
        "all => all.map(e => [e.dataset.token, Number(e.dataset.probability)])"
    )
    asked = {"text": "the cat", "temperature": 0.8}
    answer = tab.evaluate(ASK, ["next", asked])
    assert shown == [[c["token"], c["probability"]] for c in answer["candidates"]]
    token = rows.nth(2).get_attribute("data-token")
    rows.nth(2).get_by_role("button").click()
    expect(tab.get_by_test_id("text")).to_have_text("the cat" + token, use_inner_text=True)
    tab.get_by_role("button", name="Next token").click()
    expect(tab.get_by_text("of 9 tokens")).to_be_visible()
    tab.get_by_role("button", name="Write").click()
    tab.wait_for_timeout(1000)
    tab.get_by_role("button", name="Write").click()
    assert len(tab.get_by_test_id("text").text_content()) > 12
    tab.get_by_role("slider", name="Temperature").fill("0")
    expect(rows.first.locator(".p")).to_have_text("100.0%")
    tab.locator("#model").select_option("table")
    expect(tab.get_by_test_id("text")).to_have_text("hel")
    expect(rows.first).to_have_attribute("data-token", "l")


def test_looking_inside(tab, expect):
    tab.get_by_role("button", name="Look at the text above").click()
    heads = tab.get_by_test_id("attention").get_by_role("button", name="head")
    expect(heads).to_have_count(8)
    heads.nth(3).press("Enter")
    expect(heads.nth(3)).to_have_attribute("aria-pressed", "true")
    tab.get_by_text("Film: backpropagation through one neuron").click()
    expect(tab.frame_locator("iframe").get_by_role("button", name="play")).to_be_visible()


def test_a_text_of_ones_own(tab, expect, tmp_path):
    tab.get_by_text("Choose another text").click()
    tab.locator("#typed").fill("too short")
    tab.get_by_role("button", name="Learn from these lines").click()
    expect(tab.get_by_test_id("error")).to_contain_text("needs at least")
    (tmp_path / "zebra.txt").write_text("zebras eat grass and zebras run\n" * 60)
    tab.locator("#file").set_input_files(tmp_path / "zebra.txt")
    expect(tab.locator("#text-about")).to_contain_text("zebra.txt: 1,920 characters")
    expect(tab.get_by_test_id("error")).to_be_hidden()
    (tmp_path / "bytes.txt").write_bytes(b"\xff\xfe\x00" * 500)
    tab.locator("#file").set_input_files(tmp_path / "bytes.txt")
    expect(tab.get_by_test_id("error")).to_contain_text("is no text in UTF-8")
    tab.locator("#kind").select_option("byte")
    tab.locator("#typed").fill(TEXT)
    tab.get_by_role("button", name="Learn from these lines").click()
    expect(tab.locator("#text-about")).to_contain_text("(bytes), of which 256 are different")


def test_hostile_prompts_are_text(tab, expect):
    prompt = tab.get_by_role("textbox", name="Prompt")
    for string in WRITABLE:
        prompt.fill(string)
        tab.wait_for_timeout(20)
    prompt.fill("<img src=x onerror=alert(1)>")
    expect(tab.get_by_test_id("text")).to_have_text("<img src=x onerror=alert(1)>")
    assert tab.locator("main img").count() == 0


def test_two_pages_see_the_same(tab, browser, address, expect):
    other = browser.new_context().new_page()
    other.goto(address)
    tab.get_by_role("button", name="Step").click()
    for page in (tab, other):
        expect(page.get_by_test_id("step")).to_have_text("1")
    assert number(other, "loss") == number(tab, "loss")
    other.context.close()


def test_settings_are_in_the_address(tab, browser, expect):
    tab.get_by_role("slider", name="Temperature").fill("1.5")
    tab.get_by_role("slider", name="Layers").fill("4")
    copy = browser.new_context().new_page()
    copy.goto(tab.url)
    expect(copy.get_by_role("slider", name="Temperature")).to_have_value("1.5")
    expect(copy.get_by_role("slider", name="Layers")).to_have_value("4")
    copy.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width, height", [(1280, 720), (390, 800)])
def test_accessible_and_without_overflow(tab, scheme, width, height):
    axe = pytest.importorskip("axe_core_python.sync_playwright").Axe()
    tab.set_viewport_size({"width": width, "height": height})
    tab.emulate_media(color_scheme=scheme)
    tab.get_by_role("button", name="Look at the text above").click()
    tab.get_by_test_id("attention").wait_for()
    for summary in ("Choose another text", "Earlier runs", "Earlier samples"):
        tab.get_by_text(summary, exact=True).click()
    found = axe.run(tab)["violations"]
    assert [(v["id"], [n["html"] for n in v["nodes"]]) for v in found] == []
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_server_that_stops_while_it_trains(browser, tmp_path, expect):
    with playground(tmp_path) as (address, process):
        page = browser.new_context().new_page()
        page.goto(address)
        page.get_by_role("button", name="Train").click()
        expect(page.get_by_test_id("loss")).not_to_have_text("–")
        process.send_signal(signal.SIGINT)
        start = time.monotonic()
        out, _ = process.communicate(timeout=20)
        assert process.returncode == 0 and "the model was saved as runs/run-1" in out
        assert time.monotonic() - start < 15  # streams end, too
        page.get_by_role("button", name="Pause").click()
        expect(page.get_by_test_id("error")).to_contain_text("does not answer any more")
        page.context.close()
