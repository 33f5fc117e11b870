"""What one training step needs, from the user's own code run without a GPU. It never imports torch: a child does.

>>> from gpuplan.trace import trace
>>> traced = trace("mytrain:make_step", {"batch_size": 4}, python="python3", micro_batch="batch_size")  # doctest: +SKIP
>>> traced.footprint.peak(64).total_bytes(64)  # doctest: +SKIP
"""

from gpuplan.trace.largest import Largest as Largest
from gpuplan.trace.largest import largest_batch as largest_batch
from gpuplan.trace.result import Behind as Behind
from gpuplan.trace.result import Kernel as Kernel
from gpuplan.trace.result import Part as Part
from gpuplan.trace.result import Peak as Peak
from gpuplan.trace.result import Place as Place
from gpuplan.trace.result import Stream as Stream
from gpuplan.trace.result import Traced as Traced
from gpuplan.trace.runner import Limits as Limits
from gpuplan.trace.runner import cached as cached
from gpuplan.trace.runner import trace as trace

__all__ = [
    "Behind",
    "Kernel",
    "Largest",
    "Limits",
    "Part",
    "Peak",
    "Place",
    "Stream",
    "Traced",
    "cached",
    "largest_batch",
    "trace",
]
