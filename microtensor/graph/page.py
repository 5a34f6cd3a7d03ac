"""Pages that need no network: a film that plays, a drawing that is panned, zoomed and folded."""

import json

from .canvas import svg_shapes
from .themes import THEMES

__all__ = ["explorer", "player"]

PICTURES = 40  # at most so many states of a folded drawing are kept in one page
EVERYTHING = 1500  # boxes: larger graphs are not drawn in full


def player(film):
    """An HTML page that plays a film: each group of shapes once, frames as lists of them."""
    table, frames = {}, []
    for frame in film.frames:
        groups = [svg_shapes(group) for group in frame.shapes]
        frames.append([table.setdefault(g, len(table)) for g in groups])
    t = film.theme
    about = {
        "groups": list(table),
        "frames": frames,
        "captions": [f.caption for f in film.frames],
        "phases": [f.phase for f in film.frames],
    }
    return _filled(
        PLAYER, title=film.title, width=film.width, height=film.height, paper=t.paper, ink=t.ink,
        faint=t.faint, active=t.active, fill=t.roles["operation"][0], data=_script(about),
    )  # fmt: skip


def explorer(drawing, picture):
    """An HTML page with a drawing that is panned, zoomed, hovered over, and folded by module.

    Each state of the folding is drawn beforehand by `picture`, from DOT text to SVG: every depth,
    and at each depth every module in full.
    """
    sheet = getattr(drawing, "_sheet", None)
    states, depths = {}, []
    if sheet is None or drawing.deepest == 0:
        states["", ""] = drawing
    else:
        depths = [
            *range(max(drawing.deepest, 2)),
            *[None] * (len(sheet.whole.vertices) <= EVERYTHING),
        ]
        states = {_state(depth, None): drawing.again(depth) for depth in depths}
        now = _state(*drawing.folded)
        states[now] = drawing
        for (depth, opened), drawn in list(states.items()):
            if depth != "all" and not opened:
                for path in _modules(drawn).values():
                    if len(states) < PICTURES and path:
                        states.setdefault((depth, path), drawn.again(int(depth), path))
    about = {
        "pictures": [
            {
                "depth": depth, "opened": opened,
                "svg": _bare(picture(getattr(drawn, "source", drawn))),
                "modules": _modules(drawn) if sheet else {},
            }
            for (depth, opened), drawn in states.items()
        ],
        "depths": ["all" if depth is None else str(depth) for depth in depths],
        "now": list(states).index(now) if depths else 0,
    }  # fmt: skip
    t = sheet.theme if sheet else THEMES["paper"]
    return _filled(
        EXPLORER, title=(sheet.about[2] if sheet else "") or "Graph", paper=t.paper, ink=t.ink,
        faint=t.faint, fill=t.roles["operation"][0], active=t.active, data=_script(about),
    )  # fmt: skip


def _state(depth, opened):
    """(depth, module that is drawn in full) as the page has them."""
    if depth is None:
        depth = 1 if opened else "all"
    return str(depth), opened or ""


def _modules(drawn):
    """{key of a box: path of the module that is folded in it}."""
    return {v.key: v.name for v in drawn.graph.vertices if v.role == "module"}


def _bare(svg):
    """SVG without what stands before it in a file."""
    text = svg.decode()
    return text[text.index("<svg") :]


def _script(data):
    """Data inside <script>: JSON in which no tag can end."""
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")


def _filled(template, **values):
    from html import escape

    for name, value in values.items():
        text = value if name == "data" else escape(str(value))
        template = template.replace(f"%{name}%", text)
    return template


PLAYER = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>%title%</title>
<style>
  html, body { margin: 0; height: 100%; background: %paper%; color: %ink%;
    font-family: Arial, Helvetica, "Liberation Sans", sans-serif }
  body { display: flex; flex-direction: column }
  svg { flex: 1; min-height: 0; width: 100% }
  nav { display: flex; gap: 10px; align-items: center; padding: 8px 24px 14px; flex-wrap: wrap }
  button, select { font: inherit; font-size: 18px; min-width: 48px; height: 40px; cursor: pointer;
    color: inherit; background: %fill%; border: 1px solid %faint%; border-radius: 8px }
  button:focus-visible { outline: 3px solid %active% }
  input { flex: 1; accent-color: %active% }
  output { min-width: 5em; text-align: right; color: %faint% }
  .said { position: absolute; left: -9999px }
</style>
<svg viewBox="0 0 %width% %height%" role="img"
  font-family="Arial, Helvetica, Liberation Sans, sans-serif"></svg>
<p class="said" aria-live="polite"></p>
<nav>
  <button id="first" title="to the start (Home)">|◀&#xFE0E;</button>
  <button id="back" title="one step back (←)">◀&#xFE0E;</button>
  <button id="play" title="play or pause (space)">▶&#xFE0E; play</button>
  <button id="forth" title="one step forth (→)">▶&#xFE0E;</button>
  <button id="last" title="to the end (End)">▶&#xFE0E;|</button>
  <input id="at" type="range" min="0" value="0" aria-label="step">
  <output></output>
  <select id="pace" aria-label="seconds for each step">
    <option value="5000">slow</option><option value="3000" selected>normal</option>
    <option value="1200">fast</option>
  </select>
</nav>
<script id="film" type="application/json">%data%</script>
<script>
  const film = JSON.parse(document.getElementById("film").textContent)
  const $ = s => document.querySelector(s), n = film.frames.length
  const svg = $("svg"), at = $("#at")
  let now = 0, timer = null
  at.max = n - 1
  function show(i) {
    now = Math.max(0, Math.min(n - 1, i))
    svg.innerHTML = film.frames[now].map(g => "<g>" + film.groups[g] + "</g>").join("")
    at.value = now
    $("output").textContent = (now + 1) + " / " + n
    $(".said").textContent = film.captions[now]
    history.replaceState(null, "", "#" + (now + 1))
  }
  function stop() { clearInterval(timer); timer = null; $("#play").innerHTML = "▶&#xFE0E; play" }
  function play() {
    if (timer) return stop()
    if (now == n - 1) show(0)
    $("#play").innerHTML = "❚❚ pause"
    timer = setInterval(() => { show(now + 1); if (now == n - 1) stop() }, +$("#pace").value)
  }
  const step = i => { stop(); show(i) }
  $("#first").onclick = () => step(0)
  $("#back").onclick = () => step(now - 1)
  $("#forth").onclick = () => step(now + 1)
  $("#last").onclick = () => step(n - 1)
  $("#play").onclick = play
  $("#pace").onchange = () => { if (timer) { stop(); play() } }
  at.oninput = () => step(+at.value)
  onkeydown = e => {
    if (e.target == at && e.key.startsWith("Arrow") || e.target.tagName == "SELECT") return
    const keys = { ArrowRight: () => step(now + 1), ArrowLeft: () => step(now - 1),
      Home: () => step(0), End: () => step(n - 1), " ": play }
    if (keys[e.key]) { e.preventDefault(); keys[e.key]() }
  }
  show((parseInt(location.hash.slice(1)) || 1) - 1)
</script>
</html>
"""


EXPLORER = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>%title%</title>
<style>
  html, body { margin: 0; height: 100%; background: %paper%; color: %ink%;
    font: 16px Arial, Helvetica, "Liberation Sans", sans-serif }
  body { display: flex; flex-direction: column; overflow: hidden }
  main { flex: 1; min-height: 0; cursor: grab; touch-action: none }
  main.held { cursor: grabbing }
  main svg { width: 100%; height: 100% }
  nav { display: flex; gap: 8px; align-items: center; padding: 8px 16px; flex-wrap: wrap }
  button { font: inherit; min-width: 40px; height: 36px; cursor: pointer; color: inherit;
    background: %fill%; border: 1px solid %faint%; border-radius: 8px }
  button.on { border: 2px solid %active% }
  button:focus-visible { outline: 3px solid %active% }
  nav span { color: %faint%; margin-left: 10px }
  .folded { cursor: pointer }
  .pale { opacity: .25 }
  aside { position: fixed; max-width: 34em; padding: 10px 14px; white-space: pre-line;
    pointer-events: none; background: %fill%; border: 1px solid %faint%; border-radius: 8px;
    line-height: 1.45; box-shadow: 0 4px 18px #0004 }
</style>
<nav>
  <button id="out" title="smaller (−)">−</button><button id="in" title="larger (+)">+</button>
  <button id="fit" title="all of it (0)">fit</button>
  <span id="levels" hidden>unfold</span><span id="depths"></span>
  <button id="close" hidden>close</button><span id="hint"></span>
</nav>
<main></main>
<aside hidden></aside>
<script id="graph" type="application/json">%data%</script>
<script>
  const graph = JSON.parse(document.getElementById("graph").textContent)
  const $ = s => document.querySelector(s), main = $("main"), tip = $("aside")
  let svg, box, whole, now
  const at = (depth, opened) =>
    graph.pictures.findIndex(p => p.depth == depth && p.opened == opened)
  function show(i) {
    const picture = graph.pictures[now = i]
    main.innerHTML = picture.svg
    svg = main.firstElementChild
    svg.removeAttribute("width"); svg.removeAttribute("height")
    whole = svg.getAttribute("viewBox").split(/[ ,]+/).map(Number)
    tip.hidden = true
    for (const a of svg.querySelectorAll("a")) {   // our own tips, at once and in full
      const g = a.closest("g.node, g.edge, g.cluster")
      const words = a.getAttribute("xlink:title")
      if (g && words) g.dataset.tip = words
      a.removeAttribute("xlink:title")
    }
    for (const g of svg.querySelectorAll("g.node, g.edge, g.cluster")) {
      const title = g.querySelector("title")
      g.dataset.key = title.textContent
      title.remove()
      const path = picture.modules[g.dataset.key]
      if (path && at(picture.depth, path) >= 0) g.classList.add("folded")
    }
    const title = svg.querySelector("title")
    if (title) title.remove()
    for (const b of $("#depths").children)
      b.classList.toggle("on", b.dataset.depth == picture.depth)
    $("#close").hidden = !picture.opened
    $("#close").textContent = "close " + picture.opened
    $("#hint").textContent = picture.opened ? "" :
      svg.querySelector(".folded") ? "click on a module to open it" : ""
    fit()
  }
  function look() { svg.setAttribute("viewBox", box.join(" ")) }
  function fit() { box = [...whole]; look() }
  function zoom(factor, x = main.clientWidth / 2, y = main.clientHeight / 2) {
    const p = point(x, y)
    box = [p[0] - (p[0] - box[0]) * factor, p[1] - (p[1] - box[1]) * factor,
      box[2] * factor, box[3] * factor]
    look()
  }
  function scale() { return Math.max(box[2] / main.clientWidth, box[3] / main.clientHeight) }
  function point(x, y) {   // where a pixel of <main> is in the picture
    const s = scale()
    return [box[0] + box[2] / 2 + (x - main.clientWidth / 2) * s,
      box[1] + box[3] / 2 + (y - main.clientHeight / 2) * s]
  }
  main.onwheel = e => {
    e.preventDefault()
    const r = main.getBoundingClientRect()
    zoom(Math.exp(e.deltaY * .0015), e.clientX - r.left, e.clientY - r.top)
  }
  let held = null, moved = false
  main.onpointerdown = e => {
    held = [e.clientX, e.clientY]; moved = false; tip.hidden = true
  }
  onpointerup = e => { held = null; main.classList.remove("held") }
  onpointermove = e => {
    if (!held) return
    const s = scale(), dx = e.clientX - held[0], dy = e.clientY - held[1]
    if (!moved && Math.hypot(dx, dy) < 4) return
    moved = true
    main.classList.add("held")
    box[0] -= dx * s; box[1] -= dy * s; held = [e.clientX, e.clientY]
    look()
  }
  main.onclick = e => {
    const g = e.target.closest("g.node")
    if (moved || !g) return
    const picture = graph.pictures[now], i = at(picture.depth, picture.modules[g.dataset.key])
    if (g.classList.contains("folded") && i >= 0) show(i)
  }
  main.onmousemove = e => {
    const g = e.target.closest("g.node, g.edge, g.cluster")
    tip.hidden = held || !g || !g.dataset.tip
    light(g && g.classList.contains("node") ? g.dataset.key : null)
    if (tip.hidden) return
    tip.textContent = g.dataset.tip
    tip.style.left = Math.min(e.clientX + 16, innerWidth - tip.offsetWidth - 8) + "px"
    tip.style.top = Math.min(e.clientY + 16, innerHeight - tip.offsetHeight - 8) + "px"
  }
  main.onmouseleave = () => { tip.hidden = true; light(null) }
  function light(key) {   // only the arrows of one box
    for (const g of svg.querySelectorAll("g.edge"))
      g.classList.toggle("pale", key != null && !g.dataset.key.split("->").includes(key))
  }
  for (const depth of graph.depths) {
    const b = document.createElement("button")
    b.textContent = depth == "all" ? "everything" : depth
    b.dataset.depth = depth
    b.onclick = () => show(at(depth, ""))
    $("#levels").hidden = false
    $("#depths").append(b, " ")
  }
  $("#close").onclick = () => show(at(graph.pictures[now].depth, ""))
  $("#in").onclick = () => zoom(.8)
  $("#out").onclick = () => zoom(1.25)
  $("#fit").onclick = fit
  onkeydown = e => {
    const keys = { "+": () => zoom(.8), "=": () => zoom(.8), "-": () => zoom(1.25), "0": fit,
      Escape: () => graph.pictures[now].opened && $("#close").click() }
    if (keys[e.key]) keys[e.key]()
  }
  show(graph.now)
</script>
</html>
"""
