"""Check that a model of some sizes fits the tensors of a file, before the model is made.

A file is not believed: a config of a few bytes may ask for any number of layers. A model is made
only if its numbers are in the file, in memory of their own, and if it has no more layers than the
file has tensors. What it keeps beside them, such as a mask or a cache, is bounded too: by 16 times
as many numbers, or 4 million. So the memory and the time that a model takes are bounded by the size
of its file.
"""

from dataclasses import fields

TABLES, SMALL_TABLES = 16, 2**22
SMALL = 2**12  # a size that a model of somebody's own may have, however few numbers are in its file


def check_size(tensors, config):
    """ValueError unless a model of `config` is not larger than these tensors by name.

    A config that does not say its `numbers` may have no size above those in the file, or 4096.
    """
    found = distinct(tensors)
    numbers, tables = getattr(config, "numbers", None), getattr(config, "tables", 0)
    layers = getattr(config, "n_layers", 1)
    problem = None
    if layers > len(tensors):
        problem = f"it asks for {layers:,} layers"
    elif numbers is None:
        sizes = {field.name: getattr(config, field.name) for field in fields(config)}
        name, size = max(sizes.items(), key=lambda item: item[1] if type(item[1]) is int else 0)
        problem = f"its {name} is {size!r:.60}" if _large(size, found) else None
    elif numbers > found:
        problem = f"it asks for {numbers:,} numbers"
    elif tables > max(TABLES * found, SMALL_TABLES):
        problem = f"a context_length of {config.context_length:,} is too long"
    if problem:
        raise ValueError(
            f"the weights do not fit the config: {problem}; the file has {found:,} numbers in "
            f"{len(tensors):,} tensors"
        )


def _large(size, found):
    return type(size) is int and size > max(found, SMALL)


def distinct(tensors):
    """The number of elements of tensors by name; memory that several share counts once."""
    memory = {}
    for tensor in tensors.values():
        storage = tensor.storage()
        memory[storage.data_ptr()] = storage.size()
    return sum(memory.values())
