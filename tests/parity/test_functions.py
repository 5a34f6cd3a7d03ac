"""autograd.Function and the hooks of modules and tensors: one program, run with ours and PyTorch.

A program notes what it sees, as plain values.
"""

import gc
import warnings
import weakref

import pytest

import microtensor as mt

torch = pytest.importorskip("torch")


def noted(program):
    """What the program notes with ours, and with PyTorch."""
    with warnings.catch_warnings(action="ignore"):
        return program(mt), program(torch)


# ---- autograd.Function ---------------------------------------------------------------------


def function(m, backward, forward=lambda ctx, x: x * 2):
    members = {"forward": staticmethod(forward), "backward": staticmethod(backward)}
    return type("Mine", (m.autograd.Function,), members)


def leaf(m):
    return m.ones(2, requires_grad=True)


def plain(gradient):
    return None if gradient is None else gradient.tolist()


def unmaterialized(m):
    """A result that no gradient reached, with set_materialize_grads(False)."""
    seen = []

    def forward(ctx, x):
        ctx.set_materialize_grads(False)
        return x * 2, x * 3

    def backward(ctx, a, b):
        seen.append((plain(a), plain(b)))
        return a * 2 if b is None else b * 3

    for i in (0, 1):
        x = leaf(m)
        function(m, backward, forward).apply(x)[i].sum().backward()
        seen.append(plain(x.grad))
    return seen


def none_among_the_results(m):
    seen = []

    def backward(ctx, a, b):
        seen.append((plain(a), b))
        return a * 2

    x = leaf(m)
    y, nothing = function(m, backward, lambda ctx, x: (x * 2, None)).apply(x)
    y.sum().backward()
    return [*seen, nothing, plain(x.grad)]


def numbers_of_gradients(m):
    """One, one and None, two, three, for one input."""
    seen = []
    for more in ((), (None,), (None, None), (1,), (None, 1)):
        x = leaf(m)
        back = function(m, lambda ctx, g, more=more: (g * 2, *(n and g for n in more)))
        try:
            back.apply(x).sum().backward()
            seen.append(plain(x.grad))
        except RuntimeError:
            seen.append("refused")
    return seen


def _saving(m):
    def forward(ctx, x):
        y = x.exp()
        ctx.save_for_backward(y)
        return y

    return function(m, lambda ctx, g: g * ctx.saved_tensors[0], forward)


def second_derivative_of_a_saved_result(m):
    x = m.zeros(2, requires_grad=True, dtype=m.float64)
    (g,) = m.autograd.grad(_saving(m).apply(x).sum(), x, create_graph=True)
    (h,) = m.autograd.grad(g.sum(), x)
    return h.tolist()


def second_backward(m):
    """Refused where it asks for saved tensors, allowed where nothing was saved."""
    seen = []
    for mine in (_saving(m), function(m, lambda ctx, g: g * 2)):
        x = leaf(m)
        y = mine.apply(x).sum()
        y.backward()
        try:
            y.backward()
            seen.append(plain(x.grad))
        except RuntimeError:
            seen.append("refused")
    return seen


def freed_without_the_collector(m):
    gc.disable()
    try:
        used, unused = _saving(m).apply(leaf(m)), _saving(m).apply(leaf(m))
        refs = weakref.ref(used), weakref.ref(unused)
        used.sum().backward()
        del used, unused
        return [ref() is None for ref in refs]
    finally:
        gc.enable()


def changed_in_place(m):
    def forward(ctx, x):
        x.mul_(2)
        ctx.mark_dirty(x)
        return x

    double, seen = function(m, lambda ctx, g: g * 2, forward), []
    x = leaf(m)
    y = x * 3
    z = double.apply(y)
    z.sum().backward()
    seen += [z is y, plain(x.grad), y.tolist()]
    try:
        double.apply(leaf(m))
    except RuntimeError:
        seen.append("a leaf is refused")
    return seen


def without_a_derivative(m):
    def forward(ctx, x):
        y, sign = x * 2, (x > 0).float()
        ctx.mark_non_differentiable(sign)
        return y, sign

    seen, x = [], leaf(m)

    def backward(ctx, g, h):
        seen.append(plain(h))
        return g * 2

    y, sign = function(m, backward, forward).apply(x)
    y.sum().backward()
    return [*seen, sign.requires_grad, plain(x.grad)]


def saved_none(m):
    def forward(ctx, x):
        ctx.save_for_backward(None, x)
        return x * 1

    x = leaf(m)
    function(m, lambda ctx, g: g + ctx.saved_tensors[1], forward).apply(x).sum().backward()
    return plain(x.grad)


# ---- hooks ---------------------------------------------------------------------------------


def module(m, forward):
    return type("Part", (m.nn.Module,), {"forward": lambda self, *args: forward(*args)})()


def backward_hooks(m):
    """Of modules that return a dict, a list, a tuple of which a part gets no gradient."""
    seen = []
    programs = (
        (lambda x: {"a": x * 2, "b": [x * 3]}, lambda r: r["a"]),
        (lambda x: [x * 2, x * 3], lambda r: r[0]),
        (lambda x: (x * 2, x * 3, 7), lambda r: r[1]),
        (lambda x: (x * 2, x * 3), lambda r: r[0] + r[1]),
    )
    for forward, used in programs:
        part = module(m, forward)
        part.register_full_backward_pre_hook(lambda part, out: seen.append([*map(plain, out)]))
        part.register_full_backward_hook(
            lambda part, into, out: seen.append([*map(plain, into), *map(plain, out)])
        )
        x = leaf(m)
        used(part(x)).sum().backward()
        seen.append(plain(x.grad))
    return seen


def replaced_gradients(m):
    seen, line = [], m.nn.Linear(2, 1, bias=False)
    with m.no_grad():
        line.weight.fill_(1.0)
    line.register_full_backward_pre_hook(lambda part, out: (out[0] * 3,))
    line.register_full_backward_hook(lambda part, into, out: (into[0] * 2,))
    line.register_full_backward_hook(lambda part, into, out: seen.append(plain(into[0])))
    x = m.ones(1, 2, requires_grad=True)
    line(x).sum().backward()
    seen += [plain(x.grad), plain(line.weight.grad)]
    line.register_full_backward_hook(lambda part, into, out: (into[0], into[0]))
    try:
        line(x).sum().backward()
    except RuntimeError:
        seen.append("two gradients in place of one are refused")
    return seen


def hooks_that_are_always_called(m):
    def fails(*args):
        raise ValueError("no")

    seen = []
    for where in ("forward", "before", "hook", "always"):
        part = module(m, fails if where == "forward" else lambda x: x)
        part.register_forward_hook(lambda *_: seen.append("first"))
        part.register_forward_hook(
            lambda part, args, result: seen.append(("always", result is None)), always_call=True
        )
        if where == "before":
            part.register_forward_pre_hook(fails)
        elif where != "forward":
            part.register_forward_hook(fails, always_call=where == "always")
        part.register_forward_hook(
            lambda part, args, named, result: seen.append(("last", len(named))),
            always_call=True, with_kwargs=True,
        )  # fmt: skip
        try:
            part(m.ones(1))
        except ValueError:
            seen.append("ValueError")
    return seen


def order_and_removal(m):
    seen, handles, part = [], [], m.nn.Identity()

    def hook(name, removes=None):
        def run(*args):
            seen.append(name)
            if removes is not None:
                handles[removes].remove()

        return run

    handles.append(part.register_forward_hook(hook("a", removes=1)))
    handles.append(part.register_forward_hook(hook("b")))
    handles.append(part.register_forward_hook(hook("c", removes=2), prepend=True))
    part(m.ones(1)), part(m.ones(1))
    x, handles[:] = leaf(m), []
    y = x * 2
    handles.append(y.register_hook(hook("d", removes=1)))
    handles.append(y.register_hook(hook("e")))
    y.register_hook(lambda g: g * 5)
    y.retain_grad()
    y.sum().backward()
    return [*seen, plain(y.grad), plain(x.grad)]


PROGRAMS = (
    unmaterialized, none_among_the_results, numbers_of_gradients, without_a_derivative, saved_none,
    second_derivative_of_a_saved_result, second_backward, freed_without_the_collector,
    changed_in_place, backward_hooks, replaced_gradients, hooks_that_are_always_called,
    order_and_removal,
)  # fmt: skip


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.__name__)
def test_it_sees_what_pytorch_s_sees(program):
    ours, theirs = noted(program)
    assert ours == theirs
