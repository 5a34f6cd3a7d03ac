"""The build backend: setuptools, whose source archives hold the whole clone.

By itself setuptools adds only tests/test_*.py to the package, without what these stand on, and it
reads its list of more files at the top of a repository, where this one keeps none.
"""

from setuptools.build_meta import *  # noqa: F403
from setuptools.command.egg_info import manifest_maker

manifest_maker.template = ".ci/sources"
