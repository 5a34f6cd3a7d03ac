"""The package's name where things are printed: PyTorch's within `as_torch()`; and missing names."""

from .installed import COVERED

PACKAGE = ["microtensor"]  # as what is printed calls it: "torch" within `compat.as_torch()`
STAND_IN = [lambda place, name: None]  # what `compat.as_torch()` gives for a name that is missing


class Shown(type):
    """A class that `compat.as_torch()` shows by PyTorch's name, as in <class 'torch.Tensor'>."""

    def __repr__(cls):
        if PACKAGE[0] == "torch" and cls.__module__.startswith("microtensor."):
            place = "nn.parameter." if cls.__name__ == "Parameter" else ""
            return f"<class 'torch.{place}{cls.__name__}'>"
        return super().__repr__()

    def __getattr__(cls, name):
        """For a member that is not there, what `compat.as_torch()` gives."""
        value = STAND_IN[0](f"microtensor.{cls.__name__}", name)
        if value is not None:
            return value
        raise AttributeError(f"type object {cls.__name__!r} has no attribute {name!r}")


def missing(place):
    """A module's __getattr__: a name that is not there is named, and where those are that are."""

    def __getattr__(name):
        value = STAND_IN[0](place, name)
        if value is not None:
            return value
        raise AttributeError(f"{place} has no {name!r}; what of PyTorch's is there: {COVERED}")

    return __getattr__
