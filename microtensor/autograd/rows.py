"""Derivatives for each row of gradients: `grad(…, is_grads_batched=True)`."""

from .base import TensorBase, as_list, registry


def each_row(grad, outputs, inputs, grad_outputs, retain_graph, create_graph, *unused):
    """`grad` of each row of the gradients, and the rows of each derivative put together.

    Raises RuntimeError for a gradient whose rows have not the shape of its output.
    """
    outputs, inputs = as_list(outputs), as_list(inputs)
    seeds = [] if grad_outputs is None else as_list(grad_outputs)
    if len(seeds) != len(outputs) or not all(isinstance(g, TensorBase) for g in seeds):
        raise ValueError(f"grad: is_grads_batched needs {len(outputs)} tensors as grad_outputs")
    for g, y in zip(seeds, outputs):
        if tuple(g.shape[1:]) != tuple(y.shape) or len(g) != len(seeds[0]):
            raise RuntimeError(
                f"grad: with is_grads_batched the gradient of an output of shape {tuple(y.shape)} "
                f"has one dimension more, in front, got shape {tuple(g.shape)}"
            )
    count = len(seeds[0])
    if not count:
        raise IndexError("grad: is_grads_batched needs one row of gradients at least")
    retain_graph = create_graph if retain_graph is None else retain_graph
    rows = [
        grad(outputs, inputs, [g[i] for g in seeds], retain_graph or i < count - 1, create_graph,
             True, *unused[:1], False, *unused[1:])
        for i in range(count)
    ]  # fmt: skip
    stack = registry["stack"]
    return tuple(None if column[0] is None else stack(*column) for column in zip(*rows))
