"""The schema of a language model's checkpoint: each key, its kind, and what must agree.

A file may hold any structure of plain values. All that is used of it later is looked at here, so
that nobody else need ask what a step, a loss or a learning rate might be instead. Keys at the top
that are not among these are left alone.
"""

import math
import reprlib

import microtensor as mt

from ..ladder.training_config import OPTIMIZERS, TrainingConfig
from ..pretrained.fitting import check_size, distinct
from ..text.tokenizers import tokenizer_from
from .architectures import architecture

FORMAT = "a microtensor language model, 1"
STEPS = 2**53  # more than anybody makes, and exact as a float
WINDOWS = 2**20  # of a batch: more than anybody takes
VALUES = 2**22  # of all settings together: more than any tokenizer's
RANDOM = 4096  # bytes of the state of a stream of random numbers


def check_checkpoint(state):
    """ValueError unless `state` is what a `Trainer` saves: it names the key and what it found."""
    if not is_checkpoint(state):
        raise ValueError(f"this is not a checkpoint of a language model: {shown(state)}")
    for key, (check, wanted) in KEYS.items():
        if key in state:
            insist(check(state[key]), key, state[key], wanted)
        elif key != "data":  # which older ones do not have
            raise ValueError(f"it has no {key!r}; {wanted} is needed")
    step, losses = state["step"], state["losses"]
    insist(len(losses) == step, "losses", losses, f"one for each of {step:,} steps")
    steps = [at for at, _ in state["validation"]]
    insist(
        steps == sorted(steps) and all(at <= step for at in steps),
        "validation", state["validation"], f"in the order of the steps, up to {step:,}",
    )  # fmt: skip
    training = made("training", TrainingConfig, state["training"])
    known = {"step", *OPTIMIZERS[training.optimizer].buffers}
    for moments in state["optimizer"]["state"].values():
        insist(moments.keys() <= known, "optimizer", sorted(moments), f"of {sorted(known)}")
    tokenizer = within("tokenizer", tokenizer_from, state["tokenizer"])
    try:
        _, config_class = architecture(state["architecture"])
    except ValueError:
        return  # nobody has registered such a model, so nothing will be made of it
    config = made("config", config_class, state["config"])
    vocab_size = getattr(config, "vocab_size", tokenizer.vocab_size)
    if type(vocab_size) is not int or vocab_size < tokenizer.vocab_size:
        raise ValueError(
            f"its model knows {vocab_size} tokens, its tokenizer has {tokenizer.vocab_size}"
        )
    check_size(state["model"], config)


def is_checkpoint(state):
    """True if a file says of itself that it is one."""
    return is_dict(state) and type(state.get("format")) is str and state["format"] == FORMAT


def made(key, kind, settings):
    """A dataclass of settings. ValueError, which names `key`, if they are not those of one."""
    unknown = settings.keys() - getattr(kind, "__dataclass_fields__", settings).keys()
    if unknown:
        raise ValueError(f"{key} has {sorted(unknown)[0]!r:.60}, which no {kind.__name__} has")
    return within(key, lambda settings: kind(**settings), settings)


def within(key, make, value):
    """make(value); what is wrong with it is said of `key`."""
    try:
        return make(value)
    except (ValueError, TypeError, LookupError, ArithmeticError, AttributeError) as error:
        raise ValueError(f"{key}: {error}") from None


def insist(holds, key, found, wanted):
    if not holds:
        raise ValueError(f"{key} is {shown(found)}, not {wanted}")


def shown(value):
    """A value of a file in a few words."""
    if isinstance(value, mt.Tensor):
        return f"a tensor {tuple(value.shape)} of {value.dtype}"
    try:
        return reprlib.repr(value)
    except (ValueError, RecursionError):  # a number of thousands of digits
        return f"a {type(value).__name__}"


# ---- kinds ---------------------------------------------------------------------------------------


def is_dict(value):
    return isinstance(value, dict)


def is_count(value, limit=STEPS):
    return type(value) is int and 0 <= value <= limit


def is_number(value):
    """A finite number."""
    return type(value) in (int, float) and abs(value) < 2**1000 and math.isfinite(value)


def is_settings(value):
    """A dict of plain values with strings for keys, in which lists and dicts may be nested."""
    return is_dict(value) and all(type(key) is str for key in value) and is_plain(value)


def is_plain(value):
    """True if a value is made of None, bools, numbers, strings, lists, tuples and dicts.

    Nothing in it is in itself, or in so many places that it would not end: a value counts in each.
    """
    waiting, seen = [value], 0
    while waiting:  # no recursion: a file may nest as deeply as it likes
        value = waiting.pop()
        seen += 1
        if seen > VALUES:
            return False
        if is_dict(value):
            waiting += [*value.keys(), *value.values()]
        elif type(value) in (list, tuple):
            waiting += value
        elif value is not None and type(value) not in (bool, int, float, str):
            return False
    return True


def is_training(value):
    sizes = ("batch_size", "eval_batch_size")
    return (
        is_settings(value)
        and is_count(value.get("steps", 0))
        and all(is_count(value.get(size, 0), WINDOWS) for size in sizes)
    )


def is_losses(value):
    """A row of finite numbers."""
    return (
        isinstance(value, mt.Tensor)
        and value.ndim == 1
        and value.dtype is mt.float64
        and len(value) <= distinct({"losses": value})
        and bool(value.isfinite().all())
    )


def is_validation(value):
    return type(value) is list and all(
        type(entry) in (list, tuple)
        and len(entry) == 2
        and is_count(entry[0])
        and is_number(entry[1])
        for entry in value
    )


def is_weights(value):
    """Tensors of floats by name."""
    return (
        is_dict(value)
        and len(value) > 0
        and all(
            type(name) is str and isinstance(t, mt.Tensor) and t.is_floating_point()
            for name, t in value.items()
        )
    )


def is_optimizer(value):
    """Groups of options, and by the number of a parameter its moments and its step."""
    if not is_dict(value) or value.keys() != {"state", "param_groups"}:
        return False
    groups, states = value["param_groups"], value["state"]
    return (
        type(groups) is list
        and all(is_group(group) for group in groups)
        and is_dict(states)
        and all(is_count(i) and is_moments(moments) for i, moments in states.items())
    )


def is_group(value):
    return (
        is_settings(value)
        and type(value.get("params")) is list
        and all(map(is_count, value["params"]))
        and is_number(value.get("lr"))
        and value["lr"] >= 0
    )


def is_moments(value):
    return is_dict(value) and all(is_moment(*item) for item in value.items())


def is_moment(name, value):
    if name == "step":
        value = value.item() if isinstance(value, mt.Tensor) and value.shape == () else value
        return is_number(value) and 0 <= value <= STEPS
    floats = isinstance(value, mt.Tensor) and value.is_floating_point()
    return type(name) is str and (floats or value is None and name == "momentum_buffer")


def is_schedule(value):
    return (
        is_settings(value)
        and is_count(value.get("last_epoch"))
        and is_count(value.get("_step_count"))
        and all(
            type(value.get(rates)) is list and all(map(is_number, value[rates]))
            for rates in ("base_lrs", "_last_lr")
        )
    )


def is_random(value):
    """The streams of the batches and of rank 0; of other ranks, too, where there were several."""
    return (
        is_dict(value)
        and {"batches", "default"} <= value.keys()
        and all(type(name) is str and is_stream(stream) for name, stream in value.items())
    )


def is_stream(state):
    """True if a stream of random numbers can go on from this state."""
    if not (isinstance(state, mt.Tensor) and state.dtype is mt.uint8 and state.ndim == 1):
        return False
    try:
        return len(state) <= RANDOM and bool(mt.Generator().set_state(state))
    except (RuntimeError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError):
        return False


def is_place(value):
    """True if it is a state of `ShardedWindows`, or None."""
    return value is None or is_dict(value) and all(
        type(name) is str and is_count(number, 2**64 - 1) for name, number in value.items()
    )  # fmt: skip


KEYS = {  # key: whether a value will do, and what would be right
    "architecture": (lambda value: type(value) is str, "the name of a model's class"),
    "config": (is_settings, "the sizes of the model by name"),
    "tokenizer": (is_settings, "the settings of a tokenizer"),
    "training": (is_training, "the settings of the training by name, in reasonable sizes"),
    "about": (is_settings, "plain values by name"),
    "step": (is_count, "the number of steps done"),
    "losses": (is_losses, "a row of finite float64 numbers"),
    "validation": (is_validation, "pairs [step, loss]"),
    "model": (is_weights, "tensors of floats by name"),
    "optimizer": (is_optimizer, "the state of AdamW or SGD"),
    "schedule": (is_schedule, "the state of a LambdaLR"),
    "random": (is_random, "the states of two streams of random numbers"),
    "data": (is_place, "None, or where the order of windows stands"),
}
