"""An embedding table seen in two dimensions: as a picture, and while it learns, as a film.

Whether two embeddings are alike, the angle between them tells, so all are drawn at length 1. The
two dimensions are those in which the table, as it is at the end, is spread most (PCA).
"""

import numpy as np

from microtensor.utils.pages import Script, brief, embedded, escaped, figure_text, printable

from . import pages as showing

# ---- geometry ------------------------------------------------------------------------------------


def unit(table):
    """The rows of a table (N, C) at length 1; a row of zeros stays one."""
    table = np.asarray(table, np.float64)
    return table / np.maximum(np.linalg.norm(table, axis=1, keepdims=True), 1e-12)


def pca(table, n=2):
    """(mean (C,), axes (n, C), share (n,)): where the rows of a table (N, C) are spread most.

    The axes are the eigenvectors of the covariance with the largest eigenvalues, the directions of
    largest variance; `share` is how much of all variance each has (Pearson, 1901). Their signs are
    chosen so that the largest coordinate of each is positive.
    """
    table = np.asarray(table, np.float64)
    if table.ndim != 2 or not 1 <= n <= min(table.shape):
        raise ValueError(f"pca: {n} dimensions of a table of shape {table.shape} make no sense")
    mean = table.mean(0)
    centred = table - mean
    values, vectors = np.linalg.eigh(centred.T @ centred)  # ascending
    values, axes = values[::-1][:n], vectors[:, ::-1][:, :n].T
    largest = np.abs(axes).argmax(1)
    axes = axes * np.sign(axes[np.arange(n), largest])[:, None]
    return mean, axes, values / max((centred**2).sum(), 1e-300)


def neighbours(table, i, n=8):
    """The n rows most like row i: [(row, cosine), …], the most alike first."""
    rows = unit(table)
    cosines = rows @ rows[i]
    order = np.argsort(-cosines, kind="stable")
    return [(int(j), float(cosines[j])) for j in order if j != i][:n]


def groups(table, k=8, rounds=50, seed=0):
    """The group of each row, 0 … k - 1, the largest group first: k-means, by angle."""
    rows = unit(table)
    rng = np.random.default_rng(seed)
    k = min(k, len(rows))
    centres = rows[rng.choice(len(rows), 1)]
    while len(centres) < k:  # the next is the row least like all so far
        centres = np.concatenate([centres, rows[[(rows @ centres.T).max(1).argmin()]]])
    for _ in range(rounds):
        group = (rows @ centres.T).argmax(1)
        sums = np.stack([rows[group == g].sum(0) for g in range(k)])
        centres = unit(np.where(np.any(sums, 1, keepdims=True), sums, centres))
    order = np.argsort(-np.bincount(group, minlength=k), kind="stable")
    return np.argsort(order)[group]


# ---- a film --------------------------------------------------------------------------------------


class Film:
    """A film of an embedding table while it learns.

    `labels` name the rows that are drawn; `rows` are their numbers (all of them without it).
    """

    def __init__(self, labels, rows=None):
        self.labels = list(labels)
        self.rows = np.arange(len(self.labels)) if rows is None else np.asarray(rows)
        self.steps, self.tables = [], []

    def add(self, step, table):
        """Take a picture of a table (N, C), a tensor or an array, after `step` steps."""
        table = table.detach().cpu().numpy() if hasattr(table, "detach") else np.asarray(table)
        self.steps.append(int(step))
        self.tables.append(unit(table[self.rows]))

    def points(self):
        """The pictures (F, N, 2), on the axes of the last; and these axes' share of variance."""
        _, axes, share = pca(self.tables[-1])
        return np.stack([(table - table.mean(0)) @ axes.T for table in self.tables]), share

    def colours(self, k=8):
        """A colour for each row: rows that are alike in the end have the same."""
        table = self.tables[-1]
        mean, axes, _ = pca(table, min(k, *table.shape))  # without the noise of all dimensions
        return [COLOURS[g] for g in groups((table - mean) @ axes.T, k)]


COLOURS = "#2f6db5 #d1495b #2e8b57 #d98e04 #7b4fb5 #0f8b8d #b0578d #6b705c".split()


def draw(axes, points, labels, colours, title, limits):
    """The points (N, 2) with their names on matplotlib axes from limits[0] to limits[1]."""
    (left, low), (right, high) = limits
    axes.set(xlim=(left, right), ylim=(low, high), xticks=[], yticks=[], title=title)
    axes.spines[:].set_color("#ccd")
    axes.scatter(*points.T, s=7, c=colours, alpha=0.5, linewidths=0)
    for (x, y), label, colour in zip(points, labels, colours):
        axes.text(
            x, y, figure_text(brief(label, 40)), size=8, color=colour, ha="center", va="bottom"
        )


def limits(points):
    """The corners of a box around all points (…, 2), with room for names."""
    points = points.reshape(-1, 2)
    low, high = points.min(0), points.max(0)
    room = 0.06 * np.maximum(high - low, 1e-9)
    return low - room, high + room


def before_and_after(film):
    """A picture, PNG: the table before learning and after. Needs matplotlib (ImportError)."""
    points, share = film.points()
    figure = showing.figure(15, 8)
    for axes, i in zip(figure.subplots(1, 2), (0, -1)):
        title = "before learning" if i == 0 else f"after {film.steps[i]:,} steps"
        draw(axes, points[i], film.labels, film.colours(), title, limits(points))
    figure.supxlabel(f"the two axes hold {share.sum():.0%} of the variance", fontsize=9)
    return showing.png(figure, dpi=100)


def gif(film, seconds=8, dpi=70):
    """The film as an animated GIF. Needs matplotlib and Pillow (ImportError)."""
    points, _ = film.points()
    box, colours, frames = limits(points), film.colours(), []
    for step, now in zip(film.steps, points):
        figure = showing.figure(8, 8.3)
        draw(figure.subplots(), now, film.labels, colours, f"step {step:,}", box)
        frames.append(showing.png(figure, dpi))
    each = max(40, round(1000 * seconds / len(frames)))
    return showing.gif(frames, [each] * (len(frames) - 1) + [2500])


# ---- a page --------------------------------------------------------------------------------------


def as_page(title, film, about=""):
    """The film as an HTML file that needs no other. A word under the mouse shows those like it.

    Those are the nearest in all dimensions, at the end, which two dimensions may hide.
    """
    points, share = film.points()
    low, high = limits(points)
    places = (points - low) / (high - low)  # from 0 to 1
    table = film.tables[-1]
    near = [neighbours(table, i, 6) for i in range(len(table))]
    data = {
        "steps": film.steps,
        "labels": [printable(label) for label in film.labels],
        "colours": film.colours(),
        "points": np.round(places, 4).tolist(),
        "near": [[[j, round(c, 2)] for j, c in row] for row in near],
    }
    return showing.page(
        title,
        f"<p>{escaped(about, lines=True)}</p>" if about else "",
        Script(f"const data = {embedded(data)};{SCRIPT}"),
        showing.film(['<canvas width="1800" height="1300"></canvas>'], "map"),
        f'<p class="note">The two axes hold {share.sum():.0%} of the variance (PCA of the last '
        "picture; all are drawn on its axes). Colours are groups of what is alike in the end. "
        "Point at a word to see the words nearest to it in all dimensions.</p>",
    )


SCRIPT = """
let at = 0, chosen = -1, moving = null;
function place(i, now) {
  const low = Math.floor(now), high = Math.min(low + 1, data.steps.length - 1), t = now - low;
  const a = data.points[low][i], b = data.points[high][i];
  return [1800 * (a[0] + t * (b[0] - a[0])), 1300 * (1 - a[1] - t * (b[1] - a[1]))];
}
function paint(film, now) {
  at = now;
  const pen = film.querySelector("canvas").getContext("2d");
  pen.fillStyle = "#fff"; pen.fillRect(0, 0, 1800, 1300);
  const near = new Map(chosen < 0 ? [] : data.near[chosen]);
  pen.textAlign = "center";
  data.labels.forEach((label, i) => {
    const [x, y] = place(i, now), lit = chosen < 0 || i == chosen || near.has(i);
    pen.globalAlpha = lit ? 1 : 0.15;
    if (near.has(i)) {
      pen.strokeStyle = "#99a"; pen.lineWidth = 2; pen.beginPath();
      pen.moveTo(...place(chosen, now)); pen.lineTo(x, y); pen.stroke();
    }
    pen.fillStyle = data.colours[i];
    pen.beginPath(); pen.arc(x, y, 4, 0, 7); pen.fill();
    pen.font = `${i == chosen ? "bold " : ""}24px system-ui, sans-serif`;
    pen.fillText(near.has(i) ? `${label} ${near.get(i)}` : label, x, y - 8);
  });
  pen.globalAlpha = 1; pen.fillStyle = "#566"; pen.textAlign = "left";
  pen.font = "26px system-ui, sans-serif";
  pen.fillText(`step ${data.steps[Math.round(now)].toLocaleString("en")}`, 24, 40);
}
const map = {
  steps: data.steps.length,
  draw(i, film) {
    const canvas = film.querySelector("canvas"), from = at, start = performance.now();
    film.querySelector(".frame").style.display = "block";
    cancelAnimationFrame(moving);
    if (Math.abs(i - from) > 1) paint(film, i);
    else (function glide(time) {
      const t = Math.min(1, Math.max(0, (time - start) / 600));
      paint(film, from + (i - from) * t);
      if (t < 1) moving = requestAnimationFrame(glide);
    })(start);
    canvas.onmousemove = e => {
      const box = canvas.getBoundingClientRect(), scale = 1800 / box.width;
      const x = (e.clientX - box.left) * scale, y = (e.clientY - box.top) * scale;
      const far = data.labels.map((_, i) => {
        const [u, v] = place(i, at);
        return Math.hypot(u - x, v - y);
      });
      const best = far.indexOf(Math.min(...far));
      chosen = far[best] < 60 ? best : -1;
      paint(film, at);
    };
    canvas.onmouseleave = () => { chosen = -1; paint(film, at) };
  },
};
"""
