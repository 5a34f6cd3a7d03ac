"""Every operation: its value and its derivative, side by side.

Read from simple to hard: elementwise, gamma, logic, shapes, indexing, reductions, ordering,
activations; what is made of them: arranging, placing, counting; linear algebra, linalg, distances;
then neural, convolution, recurrent.
"""

from ..autograd.autocast import autocasting
from ..autograd.calls import known_by_all_names
from . import linalg
from .activations import *  # noqa: F403
from .arranging import *  # noqa: F403
from .convolution import *  # noqa: F403
from .counting import *  # noqa: F403
from .distances import *  # noqa: F403
from .elementwise import *  # noqa: F403
from .gamma import *  # noqa: F403
from .indexing import *  # noqa: F403
from .linear_algebra import *  # noqa: F403
from .logic import *  # noqa: F403
from .neural import *  # noqa: F403
from .ordering import *  # noqa: F403
from .placing import *  # noqa: F403
from .recurrent import *  # noqa: F403
from .reductions import *  # noqa: F403
from .shapes import *  # noqa: F403

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
