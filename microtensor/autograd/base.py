"""The base class of tensors, with all that the engine uses of one, and the sequence numbers."""

import itertools

registry = {}  # every operation by name

looked_at = []  # not empty once nodes are to be looked at: inference_mode, saved_tensors_hooks

sequence = itertools.count(1)  # the sequence numbers of nodes and of changes in place


class TensorBase:
    """An array, and its place in the graph. `Tensor` adds what users call."""

    _data = None  # the array
    _node = None  # the Node that made it; None for a leaf
    _index = 0  # which of the node's results it is
    _needs_grad = False
    _num_outputs = 1  # a leaf has one slot for gradients, a node one for each result
    _grad = None

    # hooks
    _hooks = None  # {handle: (index, hook, how to wrap an array)}
    _retaining = None  # weak references to the tensors whose retain_grad() was called
    _post_accumulate_hooks = None  # {handle: hook}: called with a leaf when its .grad was added to

    # views and changes in place
    _base = None  # the tensor whose memory this one shows
    _view_steps = None  # the view operations that lead there: (those before, the last one)
    _history_version = 0  # how often this tensor's history was replaced by a change in place
    _base_history_version = 0  # its base's _history_version when this view last looked
    _inference = False  # whether it was made under inference_mode
    _fixed = None  # why this view cannot be changed in place while that is recorded
    _reshapes = ()  # what it was before it was reshaped in place: (until when, version, array)
    _replaced = ()  # what its `data` was before: (until when, weak reference to the memory, shape)
    _untracked = False  # whether changes in place go unnoticed, as those of `x.data` do

    @staticmethod
    def _wrap(array):
        """A new tensor around `array`."""
        raise NotImplementedError

    def _alias(self, edge):
        """The same array with another place in the graph."""
        raise NotImplementedError


def as_list(tensors):
    """One tensor, or several, as a list."""
    return [tensors] if isinstance(tensors, TensorBase) else list(tensors)
