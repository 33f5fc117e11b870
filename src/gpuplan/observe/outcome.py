"""How a run ended, why we think so, and what to do next: from its end, its log, its figures. It never guesses silently.

Out of memory is said only with evidence; a kill without any is a kill.
"""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, NamedTuple

from gpuplan.model import Ending, Measurement, Outcome, Status
from gpuplan.observe.failures import MORE_HOST, SMALLER_STEP, Cause, find_cause, find_exception, root_exit_code
from gpuplan.observe.log_tail import read_tail as log_tail
from gpuplan.observe.metrics import DIVERGED
from gpuplan.units import format_bytes, format_duration

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["classify", "log_tail"]

TAIL_LINES = 20
TRY_AGAIN_EXIT_CODE = 75
NEAR_LIMIT = 0.9
CRASH_SIGNALS = frozenset({"SIGSEGV", "SIGBUS", "SIGABRT", "SIGILL", "SIGFPE", "SIGTRAP", "SIGSYS"})
"""Signals that a program brings on itself."""


class Scene(NamedTuple):
    """All that is known when a run has ended."""

    ending: Ending
    log: Sequence[str]
    measurement: Measurement
    memory_bytes: int | None
    limit_s: float | None
    oom_kills: int

    @property
    def signal(self) -> int | None:
        """The signal that ended it: as the shim saw it, as a shell reports it, or as torchrun tells of a rank."""
        if self.ending.signal is not None:
            return self.ending.signal
        code = self.ending.exit_code or 0
        if 128 < code <= 128 + 64:
            return code - 128
        of_rank = root_exit_code(self.log) if code else None
        return -of_rank if of_rank is not None and of_rank < 0 else None


class Verdict(NamedTuple):
    """A status with its reason and advice."""

    status: Status
    because: str
    advice: str


def classify(
    ending: Ending | None,
    log: Sequence[str] = (),
    measurement: Measurement | None = None,
    *,
    machine_memory_bytes: int | None = None,
    time_limit_s: float | None = None,
    oom_kills: int = 0,
) -> Outcome:
    """The outcome of a run whose processes ended like `ending`; None if nobody saw them end.

    `log` is the end of its log as `log_tail` gives it, `machine_memory_bytes` what the machine (or the run's share of
    it) has, `time_limit_s` the time it was given, `oom_kills` how many processes the kernel killed for want of memory
    while it ran (`processes.oom_kills` before and after).
    """
    seen = ending or Ending()
    scene = Scene(seen, log, measurement or Measurement(), machine_memory_bytes, time_limit_s, oom_kills)
    verdict = next(found for found in (rule(scene) for rule in RULES) if found is not None)
    return Outcome(
        status=verdict.status,
        exit_code=seen.exit_code,
        signal=seen.signal,
        because=verdict.because,
        advice=verdict.advice,
        tail=tuple(log[-TAIL_LINES:]),
    )


def _not_started(scene: Scene) -> Verdict | None:
    if not scene.ending.problem:
        return None
    return Verdict(
        "crashed", f"it could not be started: {scene.ending.problem}", "correct the command or its environment"
    )


def _timed_out(scene: Scene) -> Verdict | None:
    if not scene.ending.timed_out:
        return None
    limit = f" of {format_duration(scene.limit_s)}" if scene.limit_s else ""
    advice = "raise limits.run, or let it resume: checkpoint.every and checkpoint.resume"
    return Verdict("timed_out", f"it reached its time limit{limit}", advice)


def _left_in_good_order(scene: Scene) -> Verdict | None:
    # torchrun ends with 1 whatever code its ranks leave with; their records still say that they left.
    said_so = scene.measurement.left and scene.ending.exit_code != 0 and not _saw_nothing(scene.ending)
    if scene.ending.exit_code != TRY_AGAIN_EXIT_CODE and not said_so:
        return None
    asked = "it was asked to stop and " if scene.ending.stop_requested else "it "
    how = "exit code 75" if scene.ending.exit_code == TRY_AGAIN_EXIT_CODE else "its records say so"
    return Verdict(
        "preempted", f"{asked}left in good order ({how})", "apply the plan again: it resumes from its checkpoint"
    )


def _saw_nothing(ending: Ending) -> bool:
    return ending.exit_code is None and ending.signal is None


def _out_of_device_memory(scene: Scene) -> Verdict | None:
    cause = _cause_of_failure(scene)
    if cause is None or cause.status != "oom_device":
        return None
    exception = find_exception(scene.log)
    detail = f": {exception.line}" if exception and "memory" in exception.line.lower() else ""
    return Verdict("oom_device", f"{cause.because}{detail}", SMALLER_STEP)


def _out_of_host_memory(scene: Scene) -> Verdict | None:
    cause = _cause_of_failure(scene)
    if cause is not None and cause.status == "oom_host":
        return Verdict("oom_host", cause.because, cause.advice)
    if scene.signal != signal.SIGKILL or scene.ending.stop_requested:
        return None
    evidence = _memory_evidence(scene)
    if evidence is None:
        return None
    return Verdict("oom_host", f"killed, probably by the kernel's OOM killer: {evidence}", MORE_HOST)


def _memory_evidence(scene: Scene) -> str | None:
    """What speaks for the OOM killer."""
    measured = scene.measurement
    peaks = (measured.peak_tree_bytes, measured.peak_host_bytes, scene.ending.peak_process_bytes)
    peak_bytes = max(peak or 0 for peak in peaks)
    if scene.memory_bytes and peak_bytes >= NEAR_LIMIT * scene.memory_bytes:
        return f"it had {format_bytes(peak_bytes)} of {format_bytes(scene.memory_bytes)}"
    if scene.oom_kills:
        return f"the kernel counted {scene.oom_kills} such kill{'s' if scene.oom_kills > 1 else ''} while it ran"
    return None


def _stopped(scene: Scene) -> Verdict | None:
    if not scene.ending.stop_requested:
        return None
    return Verdict("killed", f"it was asked to stop{_how(scene)}", "apply the plan again to run it")


def _diverged(scene: Scene) -> Verdict | None:
    flags = [flag for flag in scene.measurement.flags if flag.startswith(DIVERGED)]
    if not flags:
        return None
    return Verdict(
        "diverged",
        flags[0].removeprefix(DIVERGED),
        "lower the learning rate, warm it up longer, clip gradients, or use bf16 in place of fp16",
    )


def _finished(scene: Scene) -> Verdict | None:
    if scene.ending.exit_code != 0:
        return None
    return Verdict("finished", "it ended with exit code 0", "")


def _known_crash(scene: Scene) -> Verdict | None:
    cause = _cause_of_failure(scene)
    if cause is None:
        return None
    exception = find_exception(scene.log)
    said = f" ({exception.line})" if exception else ""
    return Verdict("crashed", f"{cause.because}{said}", cause.advice)


def _signalled(scene: Scene) -> Verdict | None:
    if scene.signal is None:
        return None
    name = _signal_name(scene.signal)
    if name in CRASH_SIGNALS:
        advice = "run it with PYTHONFAULTHANDLER=1 to see where; a mismatch of compiled libraries is the usual reason"
        return Verdict("crashed", f"a native library failed ({name})", advice)
    advice = "apply the plan again"
    if name == "SIGKILL":
        advice = "see `dmesg` or the cluster's log for who killed it: the kernel (memory), a scheduler or a person"
    return Verdict("killed", f"killed by {name}; nothing says by whom", advice)


def _raised(scene: Scene) -> Verdict | None:
    exception = find_exception(scene.log) if scene.ending.exit_code else None
    if exception is None:
        return None
    of_rank = f" on rank {exception.rank}" if exception.rank is not None else ""
    return Verdict("crashed", f"{exception.line}{of_rank}", "read the end of its log: `gpuplan logs` shows all of it")


def _exited(scene: Scene) -> Verdict | None:
    code = scene.ending.exit_code
    if code is None:
        return None
    advice = "read the end of its log: `gpuplan logs` shows all of it"
    if code in {126, 127}:
        advice = "the command was not found or cannot be executed there: see environment.python and environment.workdir"
    last = next((line.strip() for line in reversed(scene.log) if line.strip()), "")
    said = f"; its last line: {last}" if last else "; it wrote nothing"
    return Verdict("crashed", f"it ended with exit code {code}{said}", advice)


def _lost(scene: Scene) -> Verdict:
    reached = f" after {scene.measurement.steps} steps" if scene.measurement.steps else ""
    advice = "its machine or its supervisor went away; apply the plan again: it resumes if it has a checkpoint"
    return Verdict("lost", f"nobody saw it end{reached}", advice)


RULES: tuple[Callable[[Scene], Verdict | None], ...] = (
    _not_started,
    _timed_out,
    _left_in_good_order,
    _out_of_device_memory,
    _out_of_host_memory,
    _stopped,
    _diverged,
    _finished,
    _known_crash,
    _signalled,
    _raised,
    _exited,
    _lost,
)
"""The first that speaks decides; the last always does."""


def _cause_of_failure(scene: Scene) -> Cause | None:
    """The log speaks only for a program that failed: what it survived is no cause."""
    failed = bool(scene.ending.exit_code) or scene.signal is not None
    return find_cause(scene.log) if failed and not scene.ending.stop_requested else None


def _how(scene: Scene) -> str:
    if scene.signal is not None:
        return f" and ended by {_signal_name(scene.signal)}"
    return "" if scene.ending.exit_code is None else f" and ended with exit code {scene.ending.exit_code}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
