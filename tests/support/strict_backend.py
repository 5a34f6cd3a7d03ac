"""A second kind of array for the tests: array-api-strict on a device that NumPy cannot read.

It has the array API and nothing else, so what runs on it is portable.
"""

from functools import partial

import array_api_strict as strict
import numpy as np

from microtensor.backends import Backend

PLACE = strict.Device("device1")  # np.asarray of an array that is there raises
CREATORS = {"arange", "asarray", "empty", "eye", "full", "linspace", "ones", "zeros"}


class Namespace:
    """array-api-strict with new arrays on PLACE."""

    __name__ = "array_api_strict"

    def __getattr__(self, name):
        function = getattr(strict, name)
        return partial(function, device=PLACE) if name in CREATORS else function


class StrictBackend(Backend):
    """The portable kernels, as they are."""

    xp = Namespace()
    array_types = (type(strict.asarray(0)),)

    def device(self, array):
        return "strict"

    def memory(self, array):
        return super().memory(array._array)

    def to_numpy(self, array):
        return np.asarray(array.to_device(strict.Device("CPU_DEVICE")))
