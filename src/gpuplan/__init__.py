"""gpuplan plans, sizes, prices, places, runs, watches and judges GPU experiments.

Importing this package imports nothing else: `gpuplan --help` has to answer at once, and a trainer that
imports `gpuplan.track` has to pay for the standard library only.
"""

__version__ = "0.1.0"
