"""The verbs, wired: plan, apply, probe, review. Each step's work is done elsewhere."""

from gpuplan.flow.apply import Applied as Applied
from gpuplan.flow.apply import apply as apply
from gpuplan.flow.apply import create_inputs as create_inputs
from gpuplan.flow.apply import read_plan as read_plan
from gpuplan.flow.plan import drift as drift
from gpuplan.flow.plan import make_plan as make_plan
from gpuplan.flow.plan import plan as plan
from gpuplan.flow.plan import replan as replan
from gpuplan.flow.probe import probe as probe
from gpuplan.flow.review import review as review
from gpuplan.flow.state import State as State
