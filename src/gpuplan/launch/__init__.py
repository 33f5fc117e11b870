"""Makes it happen: runs as processes that outlive gpuplan, carried out to the letter of the plan. It never plans."""

from gpuplan.launch.base import Ended as Ended
from gpuplan.launch.base import Handle as Handle
from gpuplan.launch.base import Job as Job
from gpuplan.launch.base import Launcher as Launcher
from gpuplan.launch.base import Lost as Lost
from gpuplan.launch.base import Running as Running
from gpuplan.launch.claim import Interrupts as Interrupts
from gpuplan.launch.claim import conductor_pid as conductor_pid
from gpuplan.launch.conduct import conduct as conduct
from gpuplan.launch.folder import Status as Status
from gpuplan.launch.folder import read_status as read_status
from gpuplan.launch.folder import run_folder as run_folder
from gpuplan.launch.local import LocalLauncher as LocalLauncher
from gpuplan.launch.ports import Conducted as Conducted
from gpuplan.launch.ports import Event as Event
from gpuplan.launch.ports import Judgement as Judgement
from gpuplan.launch.ports import Observer as Observer
from gpuplan.launch.ports import RunStore as RunStore
from gpuplan.launch.prepare import ArgvOf as ArgvOf
from gpuplan.launch.prepare import Site as Site
from gpuplan.launch.prepare import make_state as make_state
