"""The options of a drawing, in one object."""

from dataclasses import dataclass, field

from .flow import LIMITS
from .themes import Theme, theme_of

VIEWS = ("forward", "backward", "both")
OUTSIDE = {"URL", "href", "stylesheet", "imagepath", "fontpath"}  # attributes that are links


@dataclass(frozen=True, eq=False)
class Options:
    """The arguments of `draw`, checked, and `scope`: variables whose names their tensors take."""

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
        """True if the gradients flowing back are shown."""
        return self.view != "forward"
