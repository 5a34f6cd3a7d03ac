"""Every operation: its value and its derivative, side by side.

Read from simple to hard: elementwise, exponentials, trigonometry, conversion, error_function,
gamma, logic, shapes, indexing, reductions, ordering, activations, linear_algebra, matrices;
then neural, convolution, recurrent. `composite/` has the functions composed of operations, in files
of the same names. `linalg` lists the names of `mt.linalg`.
"""

import sys

from ..autograd.autocast import autocasting
from ..autograd.calls import known_by_all_names
from ..backends.dtypes import dtype_of
from ..backends.half import in_float32 as rounded_once
from . import linalg
from .activations import *  # noqa: F403
from .composite.activations import *  # noqa: F403
from .composite.arranging import *  # noqa: F403
from .composite.convolution import *  # noqa: F403
from .composite.counting import *  # noqa: F403
from .composite.distances import *  # noqa: F403
from .composite.elementwise import *  # noqa: F403
from .composite.gamma import *  # noqa: F403
from .composite.indexing import *  # noqa: F403
from .composite.linear_algebra import *  # noqa: F403
from .composite.lu import *  # noqa: F403
from .composite.ordering import *  # noqa: F403
from .composite.placing import *  # noqa: F403
from .composite.reductions import *  # noqa: F403
from .composite.shapes import *  # noqa: F403
from .conversion import *  # noqa: F403
from .convolution import *  # noqa: F403
from .elementwise import *  # noqa: F403
from .error_function import *  # noqa: F403
from .exponentials import *  # noqa: F403
from .gamma import *  # noqa: F403
from .indexing import *  # noqa: F403
from .linear_algebra import *  # noqa: F403
from .logic import *  # noqa: F403
from .neural import *  # noqa: F403
from .ordering import *  # noqa: F403
from .recurrent import *  # noqa: F403
from .reductions import *  # noqa: F403
from .shapes import *  # noqa: F403
from .trigonometry import *  # noqa: F403

MOVED = {  # a file of operations, and files whose functions were found in it before
    "activations": ["composite.activations"],
    "convolution": ["composite.convolution"],
    "elementwise": [
        "exponentials",
        "trigonometry",
        "composite.elementwise",
        "conversion",
        "error_function",
    ],
    "gamma": ["composite.gamma"],
    "indexing": ["composite.indexing"],
    "linalg": ["matrices", "composite.matrices"],
    "linear_algebra": ["composite.linear_algebra"],
    "ordering": ["composite.ordering"],
    "reductions": ["composite.reductions"],
    "shapes": ["composite.shapes"],
}
for _before, _files in MOVED.items():
    for _file in _files:
        for _name, _value in vars(sys.modules[f"{__name__}.{_file}"]).items():
            vars(sys.modules[f"{__name__}.{_before}"]).setdefault(_name, _value)

__all__ = [
    name
    for name, value in globals().items()
    if getattr(value, "__module__", "").startswith(__name__)
    and value.__name__ == name
    and not name.endswith("_")
]
for _place in (linalg.__dict__, globals()):
    for _name in _place["__all__"]:
        _place[_name] = known_by_all_names(_place[_name])
    autocasting(_place)
