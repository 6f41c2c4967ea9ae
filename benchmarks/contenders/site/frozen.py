"""The same applications in a process whose garbage collector leaves alone what was loaded at the start."""

import gc

from .asgi import etp_alone

__all__ = ["etp_alone"]

gc.collect()
gc.freeze()
