"""How runs end: real programs that fail in real ways, and recorded logs of what cannot fail here."""

from __future__ import annotations

import importlib.util
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpuplan.model import Ending, Measurement, Outcome
from gpuplan.observe.failures import find_exception, root_exit_code
from gpuplan.observe.log_tail import clean_lines
from gpuplan.observe.metrics import DIVERGED
from gpuplan.observe.outcome import classify, log_tail
from gpuplan.observe.processes import oom_kills
from gpuplan.units import GIB

if TYPE_CHECKING:
    from pathlib import Path

HAS_TORCH = importlib.util.find_spec("torch") is not None

TORCHRUN = """\
[rank1]: Traceback (most recent call last):
[rank1]:   File "/work/train.py", line 12, in <module>
[rank1]:     loss = model(batch)
[rank1]: {exception}
[rank0]: torch.distributed.DistBackendError: NCCL error in: Connection reset by peer
E1120 13:00:00.000000 4242 torch/distributed/elastic/multiprocessing/api.py:874] failed (exitcode: 1) local_rank: 1
Traceback (most recent call last):
  File "/usr/bin/torchrun", line 8, in <module>
    sys.exit(main())
torch.distributed.elastic.multiprocessing.errors.ChildFailedError:
============================================================
train.py FAILED
------------------------------------------------------------
Failures:
[0]:
  time      : 2026-11-20_13:00:01
  rank      : 0 (local_rank: 0)
  exitcode  : -6 (pid: 4243)
------------------------------------------------------------
Root Cause (first observed failure):
[1]:
  time      : 2026-11-20_13:00:00
  rank      : 1 (local_rank: 1)
  exitcode  : {code} (pid: 4244)
  error_file: <N/A>
  traceback : To enable traceback see: https://pytorch.org/docs/stable/elastic/errors.html
============================================================
"""


def run(folder: Path, code: str, *, shell: bool = False) -> Outcome:
    """The outcome of a real Python program, or of a shell's."""
    path = folder / "log.txt"
    command = ["/bin/sh", "-c", code] if shell else [sys.executable, "-c", code]
    with path.open("wb") as file:
        done = subprocess.run(command, stdout=file, stderr=file, check=False)
    code_or_signal = {"exit_code": done.returncode} if done.returncode >= 0 else {"signal": -done.returncode}
    return classify(Ending.model_validate(code_or_signal), log_tail(path))


def ended(exit_code: int, log: str = "", measurement: Measurement | None = None) -> Outcome:
    return classify(Ending(exit_code=exit_code), clean_lines(log), measurement)


# ---------------------------------------------------------------- real programs


def test_a_program_that_finishes(tmp_path: Path) -> None:
    found = run(tmp_path, "print('loss 0.1'); print('done')")
    assert (found.status, found.exit_code, found.signal, found.advice) == ("finished", 0, None, "")
    assert found.tail == ("loss 0.1", "done")


def test_a_memory_error_within_a_limit(tmp_path: Path) -> None:
    code = "import resource; resource.setrlimit(resource.RLIMIT_AS, (400 * 2**20,) * 2); x = bytearray(2**30)"
    found = run(tmp_path, code)
    assert (found.status, found.exit_code) == ("oom_host", 1)
    assert found.because == "the machine ran out of memory"
    assert "fewer runs or ranks at once" in found.advice
    assert found.tail[-1] == "MemoryError"


@pytest.mark.skipif(not HAS_TORCH, reason="torch is not installed here")
def test_torchs_allocator_without_memory(tmp_path: Path) -> None:
    assert run(tmp_path, "import torch; torch.empty(2**50, dtype=torch.int8)").status == "oom_host"


def test_a_module_that_is_not_there(tmp_path: Path) -> None:
    found = run(tmp_path, "import sklearn_of_the_future.tree")
    assert found.status == "crashed"
    assert "the module sklearn_of_the_future is not installed" in found.because
    assert "`pip install sklearn_of_the_future`" in found.advice


def test_an_exception_of_the_programs_own(tmp_path: Path) -> None:
    found = run(tmp_path, "print('step 1')\nraise ValueError('batch_size must divide 7')")
    assert (found.status, found.because) == ("crashed", "ValueError: batch_size must divide 7")


def test_the_last_of_a_chain_of_exceptions(tmp_path: Path) -> None:
    found = run(tmp_path, "try: 1 / 0\nexcept ZeroDivisionError as e: raise KeyError('lr') from e")
    assert found.because == "KeyError: 'lr'"


def test_what_a_program_survived_is_no_cause(tmp_path: Path) -> None:
    code = "print('torch.OutOfMemoryError: CUDA out of memory, batch halved')\n"
    assert run(tmp_path, code).status == "finished"
    assert run(tmp_path, code + "raise ValueError('later')").because == "ValueError: later"


def test_a_full_disk(tmp_path: Path) -> None:
    code = "f = open('/dev/full', 'w')\nf.write('x' * 10**6)"
    found = run(tmp_path, code)
    assert found.status == "crashed"
    assert found.because.startswith("the disk is full (OSError: [Errno 28]")


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    code = (
        "import socket; s = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen()\n"
        "socket.socket().bind(s.getsockname())"
    )
    found = run(tmp_path, code)
    assert found.because.startswith("its network port is taken")
    assert "--standalone" in found.advice


def test_a_library_that_fails(tmp_path: Path) -> None:
    code = "import os, resource, signal; resource.setrlimit(resource.RLIMIT_CORE, (0, 0)); os.kill(os.getpid(), %d)"
    found = run(tmp_path, code % signal.SIGSEGV)
    assert (found.status, found.signal) == ("crashed", signal.SIGSEGV)
    assert "SIGSEGV" in found.because


def test_a_kill_without_evidence_is_a_kill(tmp_path: Path) -> None:
    found = run(tmp_path, "import os; os.kill(os.getpid(), 9)")
    assert (found.status, found.signal) == ("killed", 9)
    assert "dmesg" in found.advice


def test_a_kill_that_a_shell_reports(tmp_path: Path) -> None:
    found = run(tmp_path, "sh -c 'kill -9 $$'; exit $?", shell=True)
    assert (found.status, found.exit_code) == ("killed", 137)
    assert "SIGKILL" in found.because


def test_a_command_that_is_not_there(tmp_path: Path) -> None:
    found = run(tmp_path, "no_such_program_at_all", shell=True)
    assert (found.status, found.exit_code) == ("crashed", 127)
    assert "not found" in found.because
    assert "environment.python" in found.advice


def test_a_program_that_leaves_without_a_word(tmp_path: Path) -> None:
    assert run(tmp_path, "raise SystemExit(3)").because == "it ended with exit code 3; it wrote nothing"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts them")
def test_the_kernel_counts_its_kills() -> None:
    count = oom_kills()
    assert count is not None
    assert count >= 0


# ---------------------------------------------------------------- endings


def test_a_kill_near_the_machines_memory() -> None:
    found = classify(Ending(signal=9), (), Measurement(peak_tree_bytes=23 * GIB), machine_memory_bytes=24 * GIB)
    assert found.status == "oom_host"
    assert found.because == "killed, probably by the kernel's OOM killer: it had 23 GiB of 24 GiB"


def test_a_kill_while_the_kernel_killed() -> None:
    found = classify(Ending(exit_code=137), (), oom_kills=1)
    assert found.status == "oom_host"
    assert "the kernel counted 1 such kill while it ran" in found.because


def test_a_kill_far_from_the_machines_memory() -> None:
    far = Measurement(peak_tree_bytes=GIB, peak_host_bytes=GIB)
    assert classify(Ending(signal=9), (), far, machine_memory_bytes=24 * GIB).status == "killed"


def test_a_kill_that_was_asked_for() -> None:
    asked = Ending(signal=9, stop_requested=True)
    found = classify(asked, (), Measurement(peak_tree_bytes=23 * GIB), machine_memory_bytes=24 * GIB)
    assert (found.status, found.because) == ("killed", "it was asked to stop and ended by SIGKILL")


@pytest.mark.parametrize("exit_code", [0, 1, 143])
def test_a_stop_that_was_asked_for(exit_code: int) -> None:
    assert classify(Ending(exit_code=exit_code, stop_requested=True)).status == "killed"


def test_a_time_limit() -> None:
    found = classify(Ending(signal=15, timed_out=True), (), time_limit_s=5400)
    assert (found.status, found.because) == ("timed_out", "it reached its time limit of 1h30m")
    assert classify(Ending(exit_code=75, timed_out=True)).status == "timed_out"


@pytest.mark.parametrize("asked", [True, False])
def test_leaving_in_good_order(asked: bool) -> None:
    found = classify(Ending(exit_code=75, stop_requested=asked))
    assert found.status == "preempted"
    assert ("asked to stop" in found.because) == asked
    assert "resumes" in found.advice


@pytest.mark.parametrize("ending", [None, Ending()])
def test_an_end_that_nobody_saw(ending: Ending | None) -> None:
    found = classify(ending, ("step 7",), Measurement(steps=7))
    assert (found.status, found.because) == ("lost", "nobody saw it end after 7 steps")
    assert found.tail == ("step 7",)


def test_a_command_that_could_not_start() -> None:
    found = classify(Ending(problem="no such file: trian.py"))
    assert (found.status, found.because) == ("crashed", "it could not be started: no such file: trian.py")


@pytest.mark.parametrize("exit_code", [0, 1])
def test_a_loss_that_is_no_number(exit_code: int) -> None:
    found = ended(
        exit_code, measurement=Measurement(flags=("other", f"{DIVERGED}loss is not a finite number at step 9"))
    )
    assert (found.status, found.because) == ("diverged", "loss is not a finite number at step 9")
    assert "learning rate" in found.advice


def test_a_signal_without_a_name() -> None:
    assert "signal 60" in classify(Ending(signal=60)).because


# ---------------------------------------------------------------- recorded logs


@pytest.mark.parametrize(
    "line",
    [
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 750.00 MiB. GPU 0 has a total of 14.57 GiB",
        "torch.cuda.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB",
        "RuntimeError: CUDA error: out of memory",
        "RuntimeError: CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "RuntimeError: MPS backend out of memory (MPS allocated: 8.0 GB)",
        "jaxlib.xla_extension.XlaRuntimeError: RESOURCE_EXHAUSTED: Out of memory while trying to allocate 12 bytes",
    ],
)
def test_the_gpu_ran_out_of_memory(line: str) -> None:
    found = ended(1, f"step 1\nTraceback (most recent call last):\n  File 'x', line 1\n{line}\n")
    assert found.status == "oom_device"
    assert "halve the micro-batch and double the accumulation steps" in found.advice


@pytest.mark.parametrize(
    "line",
    [
        "slurmstepd: error: Detected 1 oom-kill event(s) in StepId=42.0. Some of the step tasks have been OOM Killed.",
        "RuntimeError: [enforce fail at alloc_cpu.cpp:117] . DefaultCPUAllocator: can't allocate memory: you tried to",
        "RuntimeError: DataLoader worker (pid 123) is killed by signal: Killed.",
        "RuntimeError: unable to write to file </torch_1>: insufficient shared memory (shm)",
        "terminate called after throwing an instance of 'std::bad_alloc'",
        "OSError: [Errno 12] Cannot allocate memory",
        "numpy._core._exceptions._ArrayMemoryError: Unable to allocate 8.00 EiB",
        "[12345.678] Out of memory: Killed process 4242 (python) total-vm:99kB",
    ],
)
def test_the_machine_ran_out_of_memory(line: str) -> None:
    assert ended(1, f"step 1\n{line}\n").status == "oom_host"


@pytest.mark.parametrize(
    ("line", "because"),
    [
        ("RuntimeError: No CUDA GPUs are available", "found no GPU"),
        ("AssertionError: Torch not compiled with CUDA enabled", "found no GPU"),
        ("RuntimeError: CUDA error: no kernel image is available for execution on the device", "no code for this GPU"),
        ("RuntimeError: CUDA error: device-side assert triggered", "a GPU kernel failed"),
        ("OSError: [Errno 122] Disk quota exceeded: 'checkpoint-1'", "the disk is full"),
        ("OSError: [Errno 24] Too many open files", "too many files open"),
        ("huggingface_hub.errors.GatedRepoError: 401 Client Error.", "a download was refused"),
        ("requests.exceptions.ConnectionError: Max retries exceeded with url: /x", "could not reach the network"),
        ("ModuleNotFoundError: No module named 'cv2'", "the module cv2 is not installed"),
        ("/usr/bin/python: No module named torch.distributed.run", "the module torch is not installed"),
    ],
)
def test_usual_causes_of_crashes(line: str, because: str) -> None:
    found = ended(1, f"hello\n{line}\n")
    assert found.status == "crashed"
    assert because in found.because
    assert found.advice


def test_a_package_may_have_another_name() -> None:
    assert "`pip install opencv-python`" in ended(1, "ModuleNotFoundError: No module named 'cv2'").advice


@pytest.mark.parametrize(
    ("exception", "status", "because"),
    [
        ("ValueError: expected 4 classes", "crashed", "ValueError: expected 4 classes on rank 1"),
        (
            "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 1 GiB",
            "oom_device",
            "the GPU ran out of memory",
        ),
        ("ModuleNotFoundError: No module named 'yaml'", "crashed", "the module yaml is not installed"),
    ],
)
def test_torchrun_is_looked_through(exception: str, status: str, because: str) -> None:
    found = ended(1, TORCHRUN.format(exception=exception, code=1))
    assert found.status == status
    assert found.because.startswith(because)


def test_a_rank_that_was_killed_under_torchrun() -> None:
    log = clean_lines(TORCHRUN.format(exception="", code=-9))
    assert root_exit_code(log) == -9
    assert classify(Ending(exit_code=1), log).status == "killed"
    near = Measurement(peak_tree_bytes=23 * GIB)
    assert classify(Ending(exit_code=1), log, near, machine_memory_bytes=24 * GIB).status == "oom_host"


def test_the_exception_of_the_rank_that_failed_first() -> None:
    log = clean_lines("[rank0]: RuntimeError: late\n[rank1]: KeyError: 'early'\n[rank0]: RuntimeError: later\n"
                      "Root Cause (first observed failure):\n[0]:\n  rank      : 1 (local_rank: 1)\n")  # fmt: skip
    found = find_exception(log)
    assert found is not None
    assert (found.line, found.rank) == ("KeyError: 'early'", 1)


def test_only_second_hand_exceptions_are_better_than_none() -> None:
    found = ended(1, "ConnectionResetError: [Errno 104] Connection reset by peer\n")
    assert found.because == "ConnectionResetError: [Errno 104] Connection reset by peer"


def test_the_tail_is_short() -> None:
    found = ended(1, "\n".join(f"line {number}" for number in range(100)))
    assert len(found.tail) == 20
    assert found.because == "it ended with exit code 1; its last line: line 99"


ENDINGS = st.builds(
    Ending,
    exit_code=st.one_of(st.none(), st.integers(-300, 300)),
    signal=st.one_of(st.none(), st.integers(-5, 300)),
    timed_out=st.booleans(),
    stop_requested=st.booleans(),
    peak_process_bytes=st.one_of(st.none(), st.integers(0, 10**12)),
)


@given(st.one_of(st.none(), ENDINGS), st.text(), st.integers(0, 3))
@settings(deadline=None)
def test_every_ending_has_an_outcome(ending: Ending | None, text: str, kills: int) -> None:
    found = classify(ending, clean_lines(text), machine_memory_bytes=10**11, oom_kills=kills)
    assert found.because
    assert found.advice or found.status == "finished"
    assert found.model_validate_json(found.model_dump_json()) == found


def test_torchrun_hides_the_exit_code_of_ranks_that_left_in_good_order() -> None:
    left = Measurement(left=True)
    stopped = Ending(exit_code=1, stop_requested=True)
    assert classify(stopped, (), left).status == "preempted"
    assert classify(Ending(exit_code=0), (), left).status == "finished"
    assert classify(None, (), left).status == "lost"
    assert classify(Ending(exit_code=1), (), Measurement()).status == "crashed"
