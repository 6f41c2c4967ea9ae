"""The settings of the example project, with a grace that tests can wait for."""

from example_project.settings import *  # noqa: F403
from example_project.settings import ETP as _ETP

ETP = {**_ETP, "PRESENCE_GRACE": 1.0}
