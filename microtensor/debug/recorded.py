"""The picture of a Recorder's data."""

import io
import warnings

import numpy as np

from ..backends.installed import how_to_install
from ..utils.pages import brief, figure_text

BLUE, RED, PALE, INK = "#2563a8", "#d1432f", "#b9cbe0", "#2b2b2b"
HISTOGRAMS = {"weights": BLUE, "gradients": RED, "activations": "#2f8f5b"}


def figure(recorder):
    """Loss and learning rate; by module gradients, updates, activations; histograms at the end."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError(
            f"Recorder: the picture is drawn with matplotlib: {how_to_install('demos')}; "
            "the page (.html) needs nothing"
        ) from None
    rows = len(recorder.modules)
    picture = Figure(figsize=(16, 5.2 + 0.24 * max(rows, 8)), dpi=110, layout="constrained")
    picture.get_layout_engine().set(w_pad=0.08, h_pad=0.1)
    name = figure_text(brief(recorder.name))
    picture.suptitle(f"{name}, {len(recorder.losses):,} steps", fontsize=17)
    top, maps = picture.subfigures(2, 1, height_ratios=(4, 1.2 + 0.24 * max(rows, 8)))
    loss, *histograms = top.subplots(1, 4, width_ratios=(1.7, 1, 1, 1))
    _losses(loss, recorder)
    for ax, (kind, colour) in zip(histograms, HISTOGRAMS.items()):
        _histogram(ax, recorder, kind, colour)
    axes = maps.subplots(1, 3, sharey=True)
    steps, gradients = recorder.series("gradient")
    _, updates = recorder.series("update")
    _, weights = recorder.series("weight")
    shares = {p: [_ratio(u, w) for u, w in zip(updates[p], weights[p])] for p in updates}
    _map(maps, axes[0], steps, gradients, "gradient: its norm", "magma")
    _map(maps, axes[1], steps, shares, "update: its norm by that of the weights", "viridis")
    _map(maps, axes[2], steps, recorder.series("std")[1], "activation: its spread", "cividis")
    names = [figure_text(brief(path)) for path in recorder.modules]
    axes[0].set_yticks(range(rows), names, fontsize=10)
    return picture


def png(figure, dpi=130):
    """A figure of matplotlib as the bytes of a PNG."""
    stream = io.BytesIO()
    with warnings.catch_warnings():  # a letter that the font lacks is drawn as a box
        warnings.filterwarnings("ignore", "Glyph .* missing from")
        warnings.filterwarnings("ignore", "Matplotlib currently does not support")  # its script
        figure.savefig(stream, format="png", dpi=dpi)
    return stream.getvalue()


def _ratio(a, b):
    return a / b if a is not None and b else None


def _losses(ax, recorder):
    steps = recorder.start + np.arange(1, len(recorder.losses) + 1)
    losses = np.array(recorder.losses)
    n = min(len(losses), max(1, len(losses) // 50))
    ax.plot(steps, losses, color=PALE if n > 1 else BLUE, linewidth=1 if n > 1 else 2)
    if n > 1:
        mean = np.convolve(losses, np.full(n, 1 / n), "valid")
        ax.plot(steps[0] + np.arange(len(mean)) + (n - 1) / 2, mean, color=BLUE, linewidth=2)
    ax.set_title("loss", fontsize=14)
    ax.set_xlabel("step", fontsize=12)
    ax.grid(alpha=0.3)
    ax.spines[["top", "right"]].set_visible(False)
    rates = [(r["step"], r["lr"]) for r in recorder.records if r["lr"] is not None]
    if len({lr for _, lr in rates}) > 1:
        other = ax.twinx()
        other.plot(*zip(*rates), color=RED, linewidth=1.2, linestyle="--")
        other.set_ylabel("learning rate (dashed)", color=RED, fontsize=12)
        other.set_ylim(0)
        other.spines["top"].set_visible(False)


def _histogram(ax, recorder, kind, colour):
    """All modules' histograms of the first step and of the last, on one axis."""
    told = []
    for record in recorder.records[0], recorder.records[-1]:
        found = [m["histograms"].get(kind) for m in record["modules"].values()]
        told.append((record["step"], [h for h in found if h]))
    wide = max((_extent(h) for _, found in told for h in found), default=1.0)
    edges = np.linspace(-wide, wide, 81)
    looks = {"color": INK, "histtype": "step"}, {"color": colour, "alpha": 0.85}
    for (step, found), look in zip(told, looks):
        counts = np.zeros(80)
        for h in found:  # each bin is spread evenly over its width
            places = np.linspace(h["from"], h["to"], 20 * len(h["counts"]) + 1)[:-1]
            counts += np.histogram(places, edges, weights=np.repeat(h["counts"], 20) / 20)[0]
        if counts.any():
            ax.hist(edges[:-1], edges, weights=counts, log=True, label=f"step {step:,}", **look)
    ax.set_title(f"{kind}: how many", fontsize=14)
    ax.set_xlim(-wide, wide)
    ax.spines[["top", "right"]].set_visible(False)
    if ax.get_legend_handles_labels()[0]:
        ax.legend(frameon=False, fontsize=10)


def _extent(h):
    """The largest distance from zero of the middle 99 % of a histogram."""
    share = np.cumsum(h["counts"]) / sum(h["counts"])
    edges = np.linspace(h["from"], h["to"], len(h["counts"]) + 1)
    low, high = edges[np.searchsorted(share, 0.005)], edges[np.searchsorted(share, 0.995) + 1]
    return max(abs(low), abs(high)) or 1.0


def _map(picture, ax, steps, values, title, colours):
    """A row for each module, a column for each recorded step; colour is the power of ten."""
    table = np.array([[np.nan if x is None else x for x in row] for row in values.values()], float)
    table = np.log10(np.where(table > 0, table, np.nan))
    known = table[np.isfinite(table)]
    low, high = (known.min(), known.max()) if known.size else (-1, 0)
    every = steps[1] - steps[0] if len(steps) > 1 else 1
    image = ax.imshow(
        table, cmap=colours, aspect="auto", interpolation="nearest",
        vmin=low, vmax=high if high > low else low + 1,
        extent=(steps[0] - every / 2, steps[-1] + every / 2, len(table) - 0.5, -0.5),
    )  # fmt: skip
    ax.set_facecolor("#e9ecf0")  # no data there
    ax.set_title(title, fontsize=14)
    ax.set_xlabel("step", fontsize=12)
    bar = picture.colorbar(image, ax=ax, shrink=0.9)
    bar.ax.yaxis.set_major_formatter(lambda x, _: f"{10**x:.2g}")
