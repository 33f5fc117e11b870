"""Runs one attempt of a run's command and records how it ended; it outlives gpuplan. It never decides what runs next.

Stand-alone: standard library only, Python 3.9 or newer, started as `python -I -S shim.py RUN_DIR ATTEMPT [LOCK_FD]`.

The lock on `RUN_DIR/lock` is inherited by the command, so it is held as long as any process that came of it lives, even
if this one is killed. `status.json` has its full size before the command starts, so that the end can be written
on a full disk.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import resource
import select
import signal
import sys
import time

# This program starts once for each run: `typing` and `contextlib` would make up a quarter of what it imports.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn, Optional

STATUS_BYTES = 4096
PROBLEM_BYTES = 600
SUPERSEDED_EXIT_CODE = 3
UNRECORDED_EXIT_CODE = 74
TRY_AGAIN_EXIT_CODE = 75
TERM_GRACE_S = 5.0
LEFTOVER_GRACE_S = 2.0
KILL_AGAIN_S = 0.1
PR_SET_CHILD_SUBREAPER = 36
LISTENED = (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def main(arguments: list[str]) -> int:
    """Run the attempt that `attempt.json` describes, if it is still the one asked for."""
    folder, attempt = arguments[0], int(arguments[1])
    wakeup = listen()
    lock = int(arguments[2]) if len(arguments) > 2 else open_lock(folder)
    fcntl.flock(lock, fcntl.LOCK_EX)
    with open(os.path.join(folder, "attempt.json"), encoding="utf-8") as file:
        job = json.load(file)
    if job["attempt"] != attempt or was_started(folder, attempt):
        return SUPERSEDED_EXIT_CODE
    try:
        open_log(job["log"], attempt)
        status = Status(folder, job)
        status.write(state="running")
        Attempt(job, status, lock=lock, wakeup=wakeup).run()
    except OSError as error:
        sys.stderr.write("gpuplan shim: cannot record this run: {}\n".format(error))
        return UNRECORDED_EXIT_CODE
    return 0


def listen() -> int:
    """Turn signals into bytes of a pipe, which `select` can wait for together with a deadline."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    for number in LISTENED:
        signal.signal(number, lambda _number, _frame: None)
    return reader


def open_lock(folder: str) -> int:
    """A descriptor of the run's lock file, which is made if it is not there."""
    return os.open(os.path.join(folder, "lock"), os.O_RDWR | os.O_CREAT, 0o600)


def was_started(folder: str, attempt: int) -> bool:
    """Whether another shim had this attempt before: a number is used once."""
    try:
        with open(os.path.join(folder, "status.json"), encoding="utf-8") as file:
            return bool(json.loads(file.read(STATUS_BYTES))["attempt"] == attempt)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def open_log(path: str, attempt: int) -> None:
    """Append what this process and the command print to the run's log, and mark where the attempt begins."""
    log = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    os.write(1, "[gpuplan] attempt {}, {}\n".format(attempt, time.strftime("%Y-%m-%dT%H:%M:%S%z")).encode())


class Status:
    """The record `status.json`: always of one size, overwritten in place with a single write."""

    def __init__(self, folder: str, job: dict[str, Any]) -> None:
        self.file = os.open(os.path.join(folder, "status.json"), os.O_RDWR | os.O_CREAT, 0o644)
        self.facts: dict[str, Any] = {
            "attempt": job["attempt"],
            "key": job["key"],
            "pid": os.getpid(),
            "ticks": start_ticks(os.getpid()),
            "boot": boot_id(),
            "started_at": time.time(),
        }

    def write(self, **facts: Any) -> None:
        """Add facts and make them durable."""
        self.facts.update(facts)
        text = json.dumps(self.facts).encode().ljust(STATUS_BYTES - 1) + b"\n"
        if os.pwrite(self.file, text, 0) != len(text):
            raise OSError(28, "No space left on device")
        os.fsync(self.file)


class Attempt:
    """The command's processes from the start to the last of them.

    An ending goes up the stages: 0 runs, 1 was sent the program's stop signal and has its grace, 2 all processes were
    sent SIGTERM, 3 SIGKILL until none is left.
    """

    def __init__(self, job: dict[str, Any], status: Status, *, lock: int, wakeup: int) -> None:
        self.job = job
        self.status = status
        self.lock = lock
        self.wakeup = wakeup
        self.command = 0
        self.code: Optional[int] = None
        self.left_to_try_again = False
        self.stage = 0
        self.timed_out = False
        self.stop_requested = False
        timeout_s = job["timeout_s"]
        self.deadline = float("inf") if timeout_s is None else time.monotonic() + timeout_s

    def run(self) -> None:
        """Start the command, wait for all its processes and record the end."""
        become_subreaper()
        try:
            self.command = start(self.job, self.lock)
        except OSError as error:
            self.record(problem=str(error.strerror or error))
            return
        try:  # noqa: SIM105
            self.status.write(command=self.command)
        except OSError:
            pass  # it only serves to find the command if this process is killed
        while self.reap():
            self.wait()
            self.react()
        self.record()

    def reap(self) -> bool:
        """Collect the processes that have ended. False: there are none left."""
        while True:
            try:
                pid, code = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            if pid == self.command:
                self.code = code
            elif self.stage and os.WIFEXITED(code) and os.WEXITSTATUS(code) == TRY_AGAIN_EXIT_CODE:
                self.left_to_try_again = True

    def wait(self) -> None:
        """Sleep until something ended, somebody asked for an end, or the deadline."""
        timeout = None if self.deadline == float("inf") else max(0.0, self.deadline - time.monotonic())
        select.select([self.wakeup], [], [], timeout)

    def react(self) -> None:
        """Go to the next stage of an ending if somebody asked, time is out, or only leftovers of the command live."""
        for number in self.received():
            if number in (signal.SIGTERM, signal.SIGINT):
                self.ask(now=number == signal.SIGINT)
        if time.monotonic() >= self.deadline:
            self.timed_out = self.timed_out or self.stage == 0
            self.advance()
        if self.reap() and self.code is not None and self.stage == 0:
            self.stage = 1
            self.advance(grace_s=LEFTOVER_GRACE_S)

    def received(self) -> bytes:
        """Signal numbers since the last look, in order."""
        try:
            return os.read(self.wakeup, 4096)
        except BlockingIOError:
            return b""

    def ask(self, *, now: bool) -> None:
        """Begin the end; asked a second time, or for now, without any grace."""
        self.stop_requested = True
        if now or self.stage:
            self.stage = 2
        self.advance()

    def advance(self, grace_s: float = TERM_GRACE_S) -> None:
        """Take the next step towards the end, and say when the one after it is due."""
        self.stage = min(self.stage + 1, 3)
        if self.stage == 1:
            grace_s = self.job["grace_s"]
            send_group(self.command, signal.Signals[self.job["stop_signal"]])
        elif self.stage == 2:
            grace_s = min(grace_s, self.job["grace_s"])
            self.send_all(signal.SIGTERM)
        else:
            grace_s = KILL_AGAIN_S
            self.send_all(signal.SIGKILL)
        self.deadline = time.monotonic() + grace_s

    def send_all(self, number: signal.Signals) -> None:
        """Signal every process that came of the command, wherever it moved to."""
        send_group(self.command, number)
        for pid in descendants(os.getpid()):
            send(pid, number)

    def record(self, problem: Optional[str] = None) -> None:
        """Write how it ended.

        Shells that wrap the program (`sh run.sh`) die of the stop signal at once, while the program saves and leaves
        with the exit code that asks for another attempt: then that code is the run's.
        """
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        killed = self.code is not None and os.WIFSIGNALED(self.code)
        exit_code = os.WEXITSTATUS(self.code) if self.code is not None and os.WIFEXITED(self.code) else None
        again = killed and self.left_to_try_again
        self.status.write(
            state="ended",
            exit_code=TRY_AGAIN_EXIT_CODE if again else exit_code,
            signal=os.WTERMSIG(self.code) if self.code is not None and killed and not again else None,
            timed_out=self.timed_out,
            stop_requested=self.stop_requested,
            problem=problem,
            ended_at=time.time(),
            # Linux counts kilobytes, macOS bytes (getrusage(2) of each).
            peak_process_bytes=usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
            cpu_s=usage.ru_utime + usage.ru_stime,
        )


def become_subreaper() -> None:
    """Let orphans of the command come back to this process, so that none escapes."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def start(job: dict[str, Any], lock: int) -> int:
    """Start the command in a process group of its own. Raises OSError that says why it cannot be run."""
    reader, writer = os.pipe()
    # Until the child has default handlers, a signal to it would be written to the pipe that it shares with us.
    signal.pthread_sigmask(signal.SIG_BLOCK, LISTENED)
    pid = os.fork()
    if pid == 0:
        become(job, lock, writer)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, LISTENED)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        problem = pipe.read()
    if problem:
        os.waitpid(pid, 0)
        raise OSError(problem.decode("utf-8", "replace"))
    return pid


def become(job: dict[str, Any], lock: int, report: int) -> NoReturn:
    """Turn this forked process into the command; whatever hinders it is reported through the pipe."""
    doing = "enter the folder {!r}".format(job["cwd"])
    try:
        os.setpgid(0, 0)
        os.set_inheritable(lock, True)  # noqa: FBT003  it takes no keywords
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.chdir(job["cwd"])
        doing = "start {!r}".format(job["argv"][0])
        environment = {**os.environ, **job["environment"]}
        # Python ignores these two, and what is ignored stays so in the program that takes its place.
        for number in (*LISTENED, signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, LISTENED)
        variables = {name: value for name, value in environment.items() if value is not None}
        os.execvpe(job["argv"][0], job["argv"], variables)  # noqa: S606  no shell is the point
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        os.write(report, "cannot {}: {}".format(doing, reason).encode("utf-8", "backslashreplace")[:PROBLEM_BYTES])
    finally:
        os._exit(127)


def send_group(pid: int, number: signal.Signals) -> None:
    """Signal the process group of the command, if any of it is left."""
    try:  # noqa: SIM105
        os.killpg(pid, number)
    except (ProcessLookupError, PermissionError):
        pass


def send(pid: int, number: signal.Signals) -> None:
    """Signal one process, if it is still there."""
    try:  # noqa: SIM105
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        pass


def descendants(root: int) -> list[int]:
    """Living processes below `root`, parents first; none where there is no /proc."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc") if os.path.isdir("/proc") else []:
        fields = process_fields(int(name)) if name.isdigit() else None
        if fields:
            children.setdefault(int(fields[1]), []).append(int(name))
    found, rest = [], [root]
    while rest:
        below = children.get(rest.pop(), [])
        found += below
        rest += below
    return found


def process_fields(pid: int) -> Optional[list[str]]:
    """The fields of /proc/PID/stat from the third (the state) on, or None if there is no such process."""
    try:
        with open("/proc/{}/stat".format(pid), encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()
    except OSError:
        return None


def start_ticks(pid: int) -> Optional[int]:
    """When a process started, in clock ticks since the boot: with the pid, its identity."""
    fields = process_fields(pid)
    return int(fields[19]) if fields and len(fields) > 19 else None


def boot_id() -> Optional[str]:
    """Which boot of this machine this is."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
