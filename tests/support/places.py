"""Where things are: the clone that the tests stand in, and its parts."""

from pathlib import Path

CLONE = Path(__file__).parents[2]
DEMOS = CLONE / "demos"
FIXTURES = CLONE / "tests" / "fixtures"
