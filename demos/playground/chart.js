// The curves of the loss: training, held-out text, earlier runs, and ln V, where guessing stands.

const NS = "http://www.w3.org/2000/svg";
const HIGH = 284, LEFT = 44, BOTTOM = 226, TOP = 12;

function draw(svg, name, attributes, text) {
  const made = document.createElementNS(NS, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  svg.append(made);
}

// At most n points, each the mean of those around it.
export function thinned(points, n = 300) {
  const width = Math.ceil(points.length / n);
  if (width <= 1) return points;
  const out = [];
  for (let i = 0; i < points.length; i += width) {
    const part = points.slice(i, i + width);
    out.push([part.at(-1)[0], part.reduce((sum, p) => sum + p[1], 0) / part.length]);
  }
  return out;
}

export function drawChart(svg, training, validation, others, expected) {
  svg.replaceChildren();
  const wide = Math.min(640, Math.max(300, svg.clientWidth || 640)), right = wide - 10; // readable on a phone, too
  svg.setAttribute("viewBox", `0 0 ${wide} ${HIGH}`);
  const every = [...training, ...validation, ...others.flat()];
  const last = Math.max(10, ...every.map((p) => p[0]));
  const highest = Math.max(expected * 1.08, ...validation.slice(0, 1).map((p) => p[1]));
  const x = (step) => LEFT + ((right - LEFT) * step) / last;
  const y = (loss) => BOTTOM - ((BOTTOM - TOP) * Math.min(loss, highest)) / highest;
  for (let i = 0; i <= Math.floor(highest); i++) {
    draw(svg, "line", { class: "axis", x1: LEFT, x2: right, y1: y(i), y2: y(i) });
    draw(svg, "text", { x: LEFT - 8, y: y(i) + 5, "text-anchor": "end" }, String(i));
  }
  draw(svg, "text", { x: right, y: BOTTOM + 22, "text-anchor": "end" }, `step ${last.toLocaleString("en-US")}`);
  draw(svg, "text", { x: LEFT, y: BOTTOM + 22 }, "0");
  draw(svg, "line", { class: "c2", x1: LEFT, x2: right, y1: y(expected), y2: y(expected), "stroke-width": 2 });
  draw(svg, "text", { x: right, y: y(expected) - 6, "text-anchor": "end" }, `guessing: ln V = ${expected.toFixed(2)}`);
  const line = (points, name) => draw(svg, "polyline", {
    class: name, points: points.map(([s, v]) => `${x(s).toFixed(1)},${y(v).toFixed(1)}`).join(" "),
  });
  others.forEach((points) => line(points, "other"));
  line(thinned(training), "c0");
  line(validation, "c1");
  for (const [name, at, text] of [["c0", LEFT, "training"], ["c1", LEFT + 110, "held-out text"]]) {
    draw(svg, "line", { class: name, x1: at, x2: at + 24, y1: HIGH - 17, y2: HIGH - 17, "stroke-width": 3 });
    draw(svg, "text", { x: at + 30, y: HIGH - 12 }, text);
  }
}
