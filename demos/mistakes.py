"""The mistake lab: plant a classic mistake, watch what it does, and let mt.diagnose find it.

python demos/mistakes.py               all of them, one after the other
python demos/mistakes.py mask sign     some of them
"""

import sys
from dataclasses import dataclass

from microtensor.utils.pages import figure_text
from models.cli import program, showing
from models.training import reporting
from models.training.mistakes import FLOOR, MISTAKES, Training, diagnosed

BLUE, RED, INK = "#2563a8", "#d1432f", "#2b2b2b"


@dataclass
class Course:
    """The course of a training: the loss and the norm of the gradients at each step."""

    losses: list
    norms: list
    exam: float  # the loss on a right batch, without dropout, at the end
    own: tuple  # what its own way to evaluate says of that batch, asked twice
    continues: float  # the share of letters that are right when the model writes alone


def watched(training, steps):
    """The course of a training of so many steps."""
    losses, norms = [], []
    with training.planted():
        for _ in range(steps):
            losses.append(training.step(*training.batch()))
            grads = [p.grad for p in training.model.parameters() if p.grad is not None]
            norms.append(sum(float((g**2).sum()) for g in grads) ** 0.5)
    right = Training.batch(training, 64)
    own = training.evaluate(*right), training.evaluate(*right)
    exam = Training.evaluate(training, *right)
    return Course(losses, norms, exam, own, training.continues())


def table(healthy, wrong):
    """The two courses side by side."""
    steps = len(healthy.losses)
    moments = sorted({1, 10, steps // 4, steps} & set(range(1, steps + 1)))
    rows = [(f"loss, step {s}", healthy.losses[s - 1], wrong.losses[s - 1]) for s in moments]
    rows += [(f"gradient, step {s}", healthy.norms[s - 1], wrong.norms[s - 1]) for s in moments]
    rows += [("loss of the exam", healthy.exam, wrong.exam)]
    rows += [(f"its own exam, {n} time", healthy.own[i], wrong.own[i])
             for i, n in enumerate(("first", "second"))]  # fmt: skip
    rows += [("letters it writes rightly", f"{healthy.continues:.0%}", f"{wrong.continues:.0%}")]
    print(f"    {'':25} {'right':>9} {'mistake':>9}")
    for name, *values in rows:
        cells = (v if isinstance(v, str) else f"{v:.4g}" for v in values)
        print(f"    {name:25} {' '.join(f'{c:>9}' for c in cells)}")


def drawn(courses):
    """Loss and gradients of each mistake beside the healthy run, as the bytes of a PNG."""
    from matplotlib.figure import Figure

    healthy, names = courses[None], [n for n in courses if n]
    columns = min(4, len(names))
    blocks = -(-len(names) // columns)
    figure = Figure(figsize=(4.2 * columns + 0.4, 5.2 * blocks + 0.4), layout="constrained")
    axes = figure.subplots(2 * blocks, columns, squeeze=False, sharex=True)
    for ax in axes.flat[:]:
        ax.set_visible(False)
    for i, name in enumerate(names):
        row, column = 2 * (i // columns), i % columns
        above, below = axes[row, column], axes[row + 1, column]
        for ax, kind, log in (above, "losses", False), (below, "norms", True):
            ax.set_visible(True)
            ax.plot(getattr(healthy, kind), color=BLUE, alpha=0.4, linewidth=5, label="right")
            ax.plot(getattr(courses[name], kind), color=RED, linewidth=2, label="mistake")
            ax.spines[["top", "right"]].set_visible(False)
            ax.grid(alpha=0.3)
            if log:
                ax.set_yscale("log")
        above.axhline(FLOOR, color=INK, linestyle=":", linewidth=1.5)
        above.text(0, FLOOR - 0.05, "nobody can know more", fontsize=11, va="top", color=INK)
        above.set_ylim(-0.1, 3.2)
        above.set_title(figure_text(name), fontsize=17, weight="bold")
        below.tick_params(labelbottom=True)
        below.set_xlabel("step", fontsize=13)
        if column == 0:
            above.set_ylabel("loss", fontsize=13)
            below.set_ylabel("norm of the gradients", fontsize=13)
            above.legend(frameon=False, fontsize=12, loc="upper right")
    return reporting.png(figure)


def lab(args):
    """Train rightly, then with each mistake, and ask mt.diagnose about each."""
    for name in args.names:
        if name not in MISTAKES:
            raise ValueError(f"there is no mistake {name!r}; there are {', '.join(MISTAKES)}")
    if args.steps < 1:
        raise ValueError(f"--steps must be at least 1, got {args.steps}")
    print("A model learns to repeat a word of four letters. First without a mistake:\n")
    print(diagnosed(Training(args.seed)))
    courses = {None: watched(Training(args.seed), args.steps)}
    for name in args.names or MISTAKES:
        mistake = MISTAKES[name]
        print(f"\n\n── {name} ".ljust(102, "─") + f"\n\n{mistake.__doc__}\n")
        courses[name] = watched(mistake(args.seed), args.steps)
        table(courses[None], courses[name])
        patient = mistake(args.seed)
        with patient.planted():
            report = diagnosed(patient)
        print("\nmt.diagnose says:\n")
        print(*report, sep="\n")
    showing.save(args.out, {"mistakes.png": drawn(courses)})


def main(argv=None):
    listed = "\n".join(f"  {name:14} {mistake.__doc__}" for name, mistake in MISTAKES.items())
    p = program.Parser("mistakes.py", f"{__doc__}\n{listed}", "%(prog)s [MISTAKE ...] [options]")
    p.add_argument("names", nargs="*", metavar="MISTAKE", help="some of those above (all)")
    p.add_argument("--steps", type=int, default=200, metavar="N", help="of each training (200)")
    p.add_argument("--seed", type=int, default=0, metavar="N", help="of all random numbers (0)")
    p.add_argument("--out", metavar="FOLDER", default="runs/mistakes",
                   help="where the picture goes (runs/mistakes)")  # fmt: skip
    return program.run(lab, p, argv)


if __name__ == "__main__":
    sys.exit(main())
