"""The same applications in a process whose garbage collector skips all objects loaded at the start."""

import gc

from .asgi import etp_alone

__all__ = ["etp_alone"]

gc.collect()
gc.freeze()
