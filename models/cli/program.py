"""The common parts of all programs: arguments, and one line for what was wrong."""

import argparse
import difflib
import sys
from pathlib import Path

from ..training.reporting import printable


class Parser(argparse.ArgumentParser):
    """Shows its description as it is written, and complains in one line, without the usage."""

    def __init__(self, prog, description, usage="%(prog)s [options]"):
        super().__init__(
            prog, usage, description, allow_abbrev=False,
            formatter_class=Formatter,
        )  # fmt: skip

    def parse_args(self, args=None, namespace=None):
        args, unknown = self.parse_known_args(args, namespace)
        if unknown:
            flags = [flag for action in self._actions for flag in action.option_strings]
            self.error(f"unrecognized arguments: {' '.join(unknown)}{nearest(unknown[0], flags)}")
        return args

    def error(self, message):
        self.exit(2, f"{self.prog}: {printable(' '.join(message.split()))} (see --help)\n")


class Formatter(argparse.RawDescriptionHelpFormatter):
    """Shows texts as they are written, and a line for each flag, in 80 columns."""

    def __init__(self, prog):
        super().__init__(prog, max_help_position=26, width=80)


def nearest(name, names):
    """ "; did you mean …?" with the names most like this one; empty if none is."""
    found = difflib.get_close_matches(name.partition("=")[0], list(names), 3, 0.6)
    return f"; did you mean {' or '.join(found)}?" if found else ""


def run(action, parser, argv=None):
    """action(args), with what it refuses said in one line.

    Returns the exit code: 0, or what the action gives; 2 for what cannot be done, 1 for numbers
    that ran away, 130 for Ctrl-C.
    """
    any_letter()
    args = parser.parse_args(argv)
    try:
        if (out := Path(getattr(args, "out", "."))).exists() and not out.is_dir():
            raise ValueError(f"--out {out} is a file; a folder is needed")
        return action(args) or 0
    except KeyboardInterrupt:
        print()
        return 130
    except (
        ValueError, LookupError, ArithmeticError, RuntimeError, OSError, MemoryError, ImportError,
    ) as error:  # fmt: skip
        print(f"{parser.prog}: {reason(error)}", file=sys.stderr)
        return 1 if isinstance(error, ArithmeticError) else 2


def any_letter():
    """Let any text be printed: not every terminal has every letter."""
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")


def gallery(file, doc, makers, folder, formats, theme, write):
    """The program that makes some of several things, or all: `write(maker(theme=…), path)` each.

    `makers` are functions by name; `formats` the endings of files, the usual one first. `write`
    returns what is said of it. The exit code.
    """
    p = Parser(Path(file).name, doc, "%(prog)s [NAME ...] [options]")
    add, themes = p.add_argument, ("paper", "slides", "dark")
    add("names", nargs="*", metavar="NAME", help=f"{', '.join(makers)} (all)")
    add("--out", type=Path, default=Path(folder), metavar="FOLDER", help=f"where to ({folder})")
    add("--format", choices=formats, default=formats[0], help=f"({formats[0]})")
    add("--theme", choices=themes, default=theme, help=f"({theme})")

    def make_all(args):
        unknown = [name for name in args.names if name not in makers]
        if unknown:
            raise ValueError(f"there is no {unknown[0]!r}; there are {', '.join(makers)}")
        args.out.mkdir(parents=True, exist_ok=True)
        for name in args.names or makers:
            print(write(makers[name](theme=args.theme), args.out / f"{name}.{args.format}"))

    return run(make_all, p)


def reason(error):
    """The reason of an error, in one line."""
    if isinstance(error, OSError) and error.strerror:
        place = f"{error.filename}: " if error.filename else ""
        return printable(place + error.strerror)
    if isinstance(error, ModuleNotFoundError) and error.name:
        return f'{error.name} is missing; pip install -e ".[demos]"'
    text = " ".join(str(error).split()) or type(error).__name__
    return printable(f"not enough memory: {text}" if isinstance(error, MemoryError) else text)
