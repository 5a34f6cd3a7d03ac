"""PyTorch's own inputs of modules, which its developers test them with, given to ours too.

From the same parameters: the names of parameters and buffers, what the module gives, what becomes
of the buffers, and in float64 the derivatives by inputs and parameters; and what PyTorch refuses is
refused. The tests take at most six inputs of a module for each dtype and mode;

    python -m tests.parity.test_module_db [name …]

takes all, and prints for each module how many agree; of the names given also what does not.
"""

import itertools
import sys

import pytest

import microtensor as mt

from .samples import (
    assert_right,
    count,
    error_of,
    flat,
    in_scope,
    module_db,
    ours,
    outcome,
    refused,
    same,
    same_derivatives,
    tensors,
    torch,
)

COVERED = {
    name: info
    for info in module_db
    if hasattr(mt.nn, name := info.module_cls.__name__)
    and not hasattr(getattr(mt.nn, name), "is_absent")  # only to be asked for by isinstance
}

# What is left out, and why: {name: (reason, whether an input is concerned)}.
LEFT_OUT = {
    "MultiheadAttention": (
        "keys and values that are added to those of the sequence",
        lambda given: (
            given.constructor_input.kwargs["add_bias_kv"]
            or given.constructor_input.kwargs["add_zero_attn"]
        ),
    ),
    "CTCLoss": (
        "PyTorch's derivative holds that of the log_softmax before it, too",
        lambda given: given.forward_input.args[0].requires_grad,
    ),
}


def arguments(given):
    """Arguments of PyTorch's as ours; an encoder is made with a layer."""
    args, params = ours((given.args, given.kwargs))
    return tuple(encoder_layer(a) if isinstance(a, torch.nn.Module) else a for a in args), params


def encoder_layer(layer):
    return mt.nn.TransformerEncoderLayer(
        layer.self_attn.embed_dim, layer.self_attn.num_heads, layer.linear1.out_features,
        layer.dropout.p, ours(layer.activation), batch_first=layer.self_attn.batch_first,
        norm_first=layer.norm_first, bias=layer.linear1.bias is not None,
    )  # fmt: skip


def compare(info, dtype, training, given):
    """Raise an error unless our module does what PyTorch's does."""
    build, call = given.constructor_input, given.forward_input
    theirs = info.module_cls(*build.args, **build.kwargs).to(getattr(torch, dtype))
    args, params = arguments(build)
    mine = getattr(mt.nn, info.module_cls.__name__)(*args, **params).to(getattr(mt, dtype))
    theirs.train(training), mine.train(training)
    args, params = arguments(call)
    if info.is_lazy:
        theirs(*call.args, **call.kwargs), mine(*args, **params)
    mine.load_state_dict(ours(dict(theirs.state_dict())))
    expected = theirs(*call.args, **call.kwargs)
    out = mine(*args, **params)
    same(out, expected)
    same(mine.state_dict(), dict(theirs.state_dict()), "afterwards: ")
    if dtype == "float64" and tensors(expected, torch):
        inputs = [*tensors((args, params), mt), *mine.parameters()]
        torch_inputs = [*tensors((call.args, call.kwargs), torch), *theirs.parameters()]
        same_derivatives(out, inputs, expected, torch_inputs, 1)


def compare_refusal(cls, given):
    """Raise an error unless ours refuses what PyTorch refuses."""

    def made_and_called(cls, arguments):
        args, params = arguments(given.constructor_input)
        module = cls(*args, **params)
        if given.forward_input is not None:
            args, params = arguments(given.forward_input)
            module(*args, **params)

    expected = error_of(made_and_called, cls, lambda call: (call.args, call.kwargs))
    refused(error_of(made_and_called, getattr(mt.nn, cls.__name__), arguments), expected)


def refusals(info):
    """Inputs that PyTorch refuses, if we have what they are made of."""
    if info.module_error_inputs_func is None:
        return
    for error in info.module_error_inputs_func(info, "cpu", torch.float32, False, training=True):
        build = error.module_error_input.constructor_input
        call = error.module_error_input.forward_input or build
        # another dtype is a ValueError of PyTorch's recurrent layers, of linear ones and all of
        # ours a RuntimeError
        if "dtype" not in error.error_regex and all(
            map(in_scope, flat((build.args, build.kwargs, call.args, call.kwargs)))
        ):
            yield error.module_error_input


def results(name, most=None):
    """(what was tried, what is wrong or None) for the inputs of a module."""
    torch.manual_seed(0)
    info = COVERED[name]
    _, concerned = LEFT_OUT.get(name, (None, lambda given: False))
    modes = (True, False) if info.train_and_eval_differ else (True,)
    for dtype, training in itertools.product(("float64", "float32"), modes):
        how = "cpu", getattr(torch, dtype), dtype == "float64"
        inputs = info.module_inputs_func(info, *how, training=training)
        inputs = [given for given in inputs if not concerned(given)]
        for given in inputs[:: max(1, len(inputs) // most)][:most] if most else inputs:
            what = f"{dtype} training={training} {told(given)} {given.desc}"
            yield what, outcome(compare, info, dtype, training, given)
    for given in refusals(info):
        yield f"refused: {told(given)}", outcome(compare_refusal, info.module_cls, given)


def told(given):
    call = given.constructor_input
    return f"{(*call.args, *(f'{k}={v}' for k, v in call.kwargs.items()))}"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", COVERED)
def test_modules(name):
    assert_right(name, list(results(name, most=6)))


if __name__ == "__main__":
    count(COVERED, results, sys.argv[1:])
