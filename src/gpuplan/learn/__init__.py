"""What runs and logs teach: evidence for the next plan, diagnoses of scaling, and how far predictions were off.

Pure: it takes measurements as values and never reads a file, a clock or the network.
"""

from gpuplan.learn.facts import Told as Told
from gpuplan.learn.facts import anonymous as anonymous
from gpuplan.learn.facts import completed as completed
from gpuplan.learn.facts import evidence_of as evidence_of
from gpuplan.learn.facts import evidence_of_log as evidence_of_log
from gpuplan.learn.facts import implausible as implausible
from gpuplan.learn.facts import refusal as refusal
from gpuplan.learn.facts import refusal_of_log as refusal_of_log
from gpuplan.learn.residuals import Backtest as Backtest
from gpuplan.learn.residuals import Pair as Pair
from gpuplan.learn.residuals import Residual as Residual
from gpuplan.learn.residuals import backtest as backtest
from gpuplan.learn.residuals import residual as residual
from gpuplan.learn.scaling import Scaling as Scaling
from gpuplan.learn.scaling import Sharding as Sharding
from gpuplan.learn.scaling import scaling as scaling
from gpuplan.learn.scaling import sharding as sharding
