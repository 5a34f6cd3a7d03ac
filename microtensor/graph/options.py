"""All that is asked of a drawing, in one object, which goes down with the graph."""

from dataclasses import dataclass, field

from .flow import LIMITS
from .themes import Theme, theme_of

VIEWS = ("forward", "backward", "both")
OUTSIDE = {"URL", "href", "stylesheet", "imagepath", "fontpath"}  # attributes that lead elsewhere


@dataclass(frozen=True, eq=False)
class Options:
    """The arguments of `draw`, checked; and `scope`, variables that lend their names to tensors."""

    params: object = None
    names: object = None
    values: int = False
    grads: int = False
    depth: int | None = None
    expand: str | None = None
    view: str = "forward"
    derivatives: bool = False
    gradient: object = None
    calls: object = None
    limits: tuple = LIMITS
    theme: str | Theme = "paper"
    direction: str = "LR"
    legend: bool = True
    title: str = ""
    attributes: dict = field(default_factory=dict)
    scope: dict | None = None

    def __post_init__(self):
        if self.direction not in ("LR", "RL", "TB", "BT"):
            raise ValueError(f"draw: the direction is LR, RL, TB or BT, not {self.direction!r}")
        if self.view not in VIEWS:
            raise ValueError(f"draw: the view is {', '.join(VIEWS)}, not {self.view!r}")
        for name in self.attributes.keys() & OUTSIDE:
            raise ValueError(f"draw: a drawing holds everything itself, so it takes no {name}")
        object.__setattr__(self, "theme", theme_of(self.theme))

    @property
    def flows(self):
        """True if gradients are shown on their way back."""
        return self.view != "forward"
