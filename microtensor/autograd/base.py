"""What the engine knows of a tensor, and where its gradient goes."""

import itertools

registry = {}  # every operation by name

births = itertools.count(1)  # numbers nodes, and changes in place, as they happen


class TensorBase:
    """What the engine knows of a tensor: an array, and where it came from."""

    _data = None
    _node = None  # the Node that made it; None for a leaf
    _index = 0  # which of the node's results it is
    _needs_grad = False
    _hooks = None  # {handle: (index, hook, how to wrap an array)}
    _keepers = None  # weak references to the tensors whose retain_grad() was called
    _after = None  # {handle: hook}: what is called with a leaf when its .grad has been added to
    _width = 1  # a leaf has one slot for gradients, a node one for each result
    _base = None  # the tensor whose memory this one shows
    _steps = None  # the view operations that lead there: (those before, the last one)
    _rewrites = 0  # how often this tensor's history was rewritten
    _seen = 0  # its base's _rewrites when this view last looked
    _former = ()  # what it was before it got another shape in place: (until when, rewrites, array)
    _unnoticed = False  # whether changes in place go unnoticed, as those of `x.data` do
    _grad = None

    @staticmethod
    def _wrap(array):
        """A new tensor around `array`."""
        raise NotImplementedError

    def _alias(self, edge):
        """The same array with another place in the graph."""
        raise NotImplementedError


def as_list(tensors):
    return [tensors] if isinstance(tensors, TensorBase) else list(tensors)
