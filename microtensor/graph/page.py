"""Pages that need no network: a film that plays, a drawing that is panned, zoomed and folded."""

import json

from .canvas import svg_shapes

__all__ = ["player"]


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


def _script(data):
    """Data inside <script>: JSON in which no tag can end."""
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")


def _filled(template, **values):
    from html import escape

    for name, value in values.items():
        text = str(value) if name in ("data", "pictures", "tips") else escape(str(value))
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
