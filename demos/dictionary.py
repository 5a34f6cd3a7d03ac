"""Keep demos/README.md true: the line of every name, and the list of the demos.

python demos/dictionary.py            write the lines and the list anew
python demos/dictionary.py --check    only say what is out of date
"""

import ast
import re
import sys
from pathlib import Path

from microtensor.files.serialization import write_whole
from models.cli import program

HERE = Path(__file__).parent
README = HERE / "README.md"
LINK = re.compile(r"\[`([\w.]+)`\]\((\.\./[\w/]+\.py)(?:#L(\d+))?\)")
LIST = re.compile(r"(?<=<!-- demos -->\n).*?(?=<!-- end -->)", re.DOTALL)


def main(argv=None):
    p = program.Parser("dictionary.py", __doc__)
    p.add_argument("--check", action="store_true", help="change nothing")
    return program.run(demo, p, argv)


def demo(args):
    before = README.read_text(encoding="utf-8")
    after = renewed(before)
    if args.check or before == after:
        print("all is in place" if before == after else "out of date: run it without --check")
        return int(before != after)
    write_whole(README, after.encode())
    print(f"written: {README}")
    return 0


def renewed(text):
    """The text of the README with every line and the list of the demos as they are now.

    LookupError for a name that is not there.
    """

    def link(match):
        name, path, _ = match.groups()
        return f"[`{name}`]({path}#L{line_of(HERE / path, name)})"

    return LIST.sub(lambda _: list_of_demos(), LINK.sub(link, text))


def line_of(path, name):
    """The line where a dotted name is defined: a class, a function, or what is assigned."""
    if not path.is_file():
        raise LookupError(f"there is no file {path.name} for {name}")
    scope = ast.parse(path.read_text(encoding="utf-8"))
    for part in name.split("."):
        scope = next((node for node in ast.walk(scope) if defines(node, part)), None)
        if scope is None:
            raise LookupError(f"{path.name} has no {name}")
    return scope.lineno


def defines(node, name):
    """True if a piece of code gives a meaning to `name`, or to `self.name`."""
    match node:
        case ast.ClassDef() | ast.FunctionDef():
            return node.name == name
        case ast.Assign(targets=targets):
            targets = [t for target in targets for t in getattr(target, "elts", [target])]
        case ast.AnnAssign(target=target):
            targets = [target]
        case ast.Call(func=ast.Attribute(attr="register_buffer"), args=[ast.Constant(value), *_]):
            return value == name
        case _:
            return False
    return name in (getattr(t, "id", getattr(t, "attr", None)) for t in targets)


def list_of_demos():
    """Every program of this folder with the first line of what it says of itself."""
    files = sorted(p for p in HERE.glob("*.py")) + sorted(HERE.glob("*/*.py"))
    lines = []
    for path in files:
        if not path.name.startswith("_"):
            place = path.relative_to(HERE).as_posix()
            doc = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
            first = " ".join(doc.split("\n\n")[0].split())
            lines.append(f"| [`{place}`]({place}) | {first.replace('|', chr(92) + '|')} |\n")
    return "".join(["| program | what it shows |\n| --- | --- |\n", *lines])


if __name__ == "__main__":
    sys.exit(main())
