"""The common parts of all lessons: output on the screen, claims that are checked, a picture."""

import io
import os
import sys
import textwrap
from pathlib import Path

import microtensor as mt
from microtensor.files.serialization import write_whole
from microtensor.utils.pages import figure_text
from models.cli import program

try:
    import matplotlib
except ImportError:
    sys.exit('the lessons draw with matplotlib: pip install -e ".[demos]"')
matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

# Blue is what goes forward, red is what a gradient does, green is what is right.
BLUE, RED, GREEN, GOLD, INK, PALE = "#2563a8", "#d1432f", "#2f8f5b", "#e0a021", "#2b2b2b", "#d8dde3"
HEAT, SIGNED = "Blues", "RdBu_r"  # colours of what is positive, and of what has a sign
plt.rcParams.update({
    "figure.figsize": (12, 6.75), "figure.dpi": 120, "figure.constrained_layout.use": True,
    "figure.constrained_layout.h_pad": 0.15, "figure.constrained_layout.w_pad": 0.15,
    "font.size": 14, "axes.titlesize": 16, "axes.spines.top": False, "axes.spines.right": False,
    "axes.edgecolor": INK, "text.color": INK, "axes.labelcolor": INK, "lines.linewidth": 2.5,
    "legend.frameon": False, "axes.prop_cycle": plt.cycler(color=[BLUE, RED, GREEN, GOLD, INK]),
})  # fmt: skip


def arguments():
    name, lesson = Path(sys.argv[0]).name, sys.modules["__main__"].__doc__
    parser = program.Parser(name, lesson or "A lesson: read, check, look at the picture.")
    parser.add_argument("--out", type=Path, default=Path("runs/lessons"), metavar="FOLDER",
                        help="where the picture goes (default: %(default)s)")  # fmt: skip
    parser.add_argument("--wait", action="store_true", help="wait for Enter between the parts")
    return parser.parse_args()


ARGUMENTS = arguments()
if hasattr(sys.stdout, "reconfigure"):  # a screen that has no ∂ shows a question mark
    sys.stdout.reconfigure(errors="replace")
mt.manual_seed(0)


def title(text):
    print(f"\n{text}\n{'═' * len(text)}")


def say(text):
    """A paragraph for the screen."""
    if ARGUMENTS.wait and sys.stdin.isatty():
        try:
            input("  ↵ ")
        except (KeyboardInterrupt, EOFError):
            sys.exit("\nUntil next time.")
    print("\n" + textwrap.fill(" ".join(text.split()), 78))


def show(**values):
    """Names and their numbers, tensors row by row."""
    width = max(map(len, values))
    for name, value in values.items():
        text = numbers(value)
        first, *rest = text.splitlines()
        print(f"    {name:{width}} = {first}")
        print(*(" " * (width + 7) + line for line in rest), sep="\n", end="\n" * bool(rest))


def numbers(value):
    """A tensor's numbers row by row, all with as many digits as they need (four at most)."""
    if isinstance(value, float):
        return f"{value:.4g}"
    if not isinstance(value, mt.Tensor):
        return str(value)
    flat = [x + 0.0 for x in value.float().reshape(-1).tolist()]  # no −0
    digits = next(
        (d for d in range(4) if all(abs(x) > 1e5 or abs(round(x, d) - x) < 5e-5 for x in flat)), 4
    )
    text = [f"{x:.{digits}f}" if abs(x) < 1e5 else f"{x:.3g}" for x in flat]
    wide, per = max(map(len, text)), value.shape[-1] if value.ndim else 1
    rows = [text[i : i + per] for i in range(0, len(text), per)]
    return "\n".join("  ".join(x.rjust(wide) for x in row) for row in rows)


def check(claim, holds):
    """Say what was found to be true. A lesson that is wrong stops here."""
    if not holds:
        sys.exit(f"  ✗ {claim}: not so; this lesson has a mistake")
    print(f"  ✓ {claim}")


def close(a, b, within=1e-5):
    """True if two tensors or numbers are equal but for rounding."""
    a, b = (x.detach() if isinstance(x, mt.Tensor) else mt.tensor(float(x)) for x in (a, b))
    return (a - b).abs().max().item() <= within * (1 + b.abs().max().item())


def grid(ax, value, heading="", rows=(), columns=(), cmap=SIGNED, limit=None, digits=2):
    """A matrix as coloured squares with its numbers written in; −∞ stays empty."""
    value = value.detach().numpy() if isinstance(value, mt.Tensor) else value
    limit = limit or max(abs(x) for x in value.ravel() if abs(x) < float("inf")) or 1
    ax.imshow(value, cmap=cmap, vmin=-1.4 * limit if cmap == SIGNED else 0, vmax=1.4 * limit)
    for (i, j), x in (
        ((i, j), value[i, j]) for i in range(len(value)) for j in range(len(value[0]))
    ):
        dark = abs(x) > 0.6 * limit and abs(x) < float("inf")
        text = f"{x:.{digits}f}".replace("-", "−") if abs(x) < float("inf") else "−∞"
        ax.text(j, i, text, ha="center", va="center", color="white" if dark else INK, size=16)
    ax.set(title=heading)
    ax.set_xticks(range(len(columns)), columns)
    ax.set_yticks(range(len(rows)), rows)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)


def graph(ax, output, names, **how):
    """The graph behind a tensor, drawn with its values and gradients into a matplotlib picture."""
    drawing = mt.graph.draw(output, names=names, values=True, grads=True, legend=False, **how)
    ax.axis("off")
    try:
        png = mt.graph.picture(drawing.source, "png", dpi=200)
        ax.imshow(plt.imread(io.BytesIO(png)), interpolation="antialiased")
    except RuntimeError as missing:
        ax.text(0.5, 0.5, figure_text(missing), ha="center", wrap=True)


def save(figure, name):
    """Write the picture, and say where."""
    out = io.BytesIO()
    figure.savefig(out, format="png")
    plt.close(figure)
    write(f"{name}.png", out.getvalue())


def animate(figure, name, frames, lines):
    """A GIF: `lines` are drawn anew for each frame, {line: (xs, ys)}; all else stands still."""
    from PIL import Image

    sharp = figure.dpi
    figure.set_dpi(80)
    for line in lines:
        line.set_animated(True)
    figure.canvas.draw()
    behind, size = figure.canvas.copy_from_bbox(figure.bbox), figure.canvas.get_width_height()
    images = []
    for frame in frames:
        figure.canvas.restore_region(behind)
        for line, points in zip(lines, frame):
            line.set_data(*points)
            line.axes.draw_artist(line)
        pixels = bytes(figure.canvas.buffer_rgba())
        images.append(Image.frombytes("RGBA", size, pixels).convert("RGB"))
    palette = images[-1].quantize(64)
    images = [image.quantize(palette=palette, dither=Image.Dither.NONE) for image in images]
    out, times = io.BytesIO(), [70] * (len(images) - 1) + [2500]
    images[0].save(out, "GIF", save_all=True, append_images=images[1:], duration=times, loop=0)
    for line in lines:
        line.set_animated(False)
    figure.set_dpi(sharp)
    write(f"{name}.gif", out.getvalue())


def write(name, data):
    """Write a file of the lesson whole, and say where."""
    try:
        ARGUMENTS.out.mkdir(parents=True, exist_ok=True)
        write_whole(ARGUMENTS.out / name, data)
    except OSError as error:
        sys.exit(f"{ARGUMENTS.out}: {error.strerror or error}")
    print(f"\nLook at {os.path.join(ARGUMENTS.out, name)}\n")
