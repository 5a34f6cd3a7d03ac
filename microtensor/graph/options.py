"""The options of a drawing, in one object."""

from dataclasses import dataclass, field, fields

from .flow import LIMITS
from .names import nearest
from .themes import Theme, theme_of

VIEWS = ("forward", "backward", "both")
ATTRIBUTES = set(  # of a graph: https://graphviz.org/doc/info/attrs.html
    "_background bb beautify bgcolor center charset class clusterrank colorscheme comment compound "
    "concentrate Damping defaultdist dim dimen diredgeconstraints dpi epsilon esep fontcolor "
    "fontname fontnames fontpath fontsize forcelabels gradientangle href id imagepath inputscale K "
    "label label_scheme labeljust labelloc landscape layerlistsep layers layerselect layersep "
    "layout levels levelsgap lheight linelength lp lwidth margin maxiter mclimit mindist mode "
    "model newrank nodesep nojustify normalize notranslate nslimit nslimit1 oneblock ordering "
    "orientation outputorder overlap overlap_scaling overlap_shrink pack packmode pad page pagedir "
    "quadtree quantum rankdir ranksep ratio remincross repulsiveforce resolution root rotate "
    "rotation scale searchsize sep showboxes size smoothing sortv splines start style stylesheet "
    "target TBbalance tooltip truecolor URL viewport voro_margin xdotversion".split()
)
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
        for name in self.attributes.keys() - ATTRIBUTES:
            raise TypeError(
                f"draw: neither an argument of draw nor a Graphviz attribute of a graph: {name!r}"
                + nearest(name, [*(f.name for f in fields(self)), *ATTRIBUTES])
            )
        for name in self.attributes.keys() & OUTSIDE:
            raise ValueError(f"draw: a drawing holds everything itself, so it takes no {name}")
        object.__setattr__(self, "theme", theme_of(self.theme))

    @property
    def flows(self):
        """True if the gradients flowing back are shown."""
        return self.view != "forward"
