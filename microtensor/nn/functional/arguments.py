"""Checks of arguments that several families of functions share."""

from ...autograd.in_place import in_place


def _not_there(name, **options):
    """Raise NotImplementedError for a PyTorch option that is set but not implemented here."""
    for option, value in options.items():
        if value:
            raise NotImplementedError(f"{name}: {option} is not there, got {option}={value!r}")


def _row(index, n):
    """The index of one of n rows, counted from the front. IndexError if there is no such row."""
    if not -n <= index < n:
        raise IndexError(f"padding_idx {index} is out of range: there are {n} rows")
    return index % n


# ---- activations ---------------------------------------------------------------------


def _changed(op, input, inplace, *params):
    """The operation, or its form that changes the input in place."""
    if inplace:
        return in_place(input, getattr(op, "op_name", op.__name__) + "_", op, *params)
    return op(input, *params)
