"""What gpuplan remembers, in one SQLite file that survives its death at any moment. It never judges what it keeps."""

from gpuplan.store.store import Attempt as Attempt
from gpuplan.store.store import Event as Event
from gpuplan.store.store import Store as Store

__all__ = ["Attempt", "Event", "Store"]
