"""The repr() of a module and of all modules below it."""


def tree(name, extra, children):
    """Name(extra), with one indented line or more for each child."""
    lines = extra.split("\n") if extra else []
    if not children:
        body = extra if len(lines) < 2 else "\n  " + "\n  ".join(lines) + "\n"
        return f"{name}({body})"
    lines += [f"({key}): " + repr(child).replace("\n", "\n  ") for key, child in children]
    return f"{name}(\n  " + "\n  ".join(lines) + "\n)"
