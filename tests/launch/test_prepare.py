from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from workbench import argv_of, job, plan, run, site

from gpuplan.errors import UserError
from gpuplan.launch.prepare import make_state, prepare
from gpuplan.launch.provenance import DIFF_LIMIT_BYTES, capture, interpreter_of, versions_of
from gpuplan.model import Environment

if TYPE_CHECKING:
    from pathlib import Path

ME = sys.executable


def environment_of(tmp_path: Path, *, devices: tuple[int, ...] = (), **changes: Any) -> dict[str, str | None]:
    spec = changes.pop("spec", {})
    one = run("a", "true", ranks=changes.pop("ranks", 1), seed=changes.pop("seed", None))
    changes.setdefault("environment", {})
    prepared = prepare(site(tmp_path, plan(tmp_path, [one], **spec), **changes), one, devices=devices, attempt=3)
    return dict(prepared.job.environment)


def test_a_run_gets_a_folder_and_the_protocol(tmp_path: Path) -> None:
    found = environment_of(tmp_path, seed=17)
    folder = tmp_path / ".gpuplan" / "runs" / "a"
    assert folder.is_dir()
    assert {name: value for name, value in found.items() if name.startswith("GPUPLAN")} == {
        "GPUPLAN_RUN": "a",
        "GPUPLAN_RUN_DIR": str(folder),
        "GPUPLAN_ATTEMPT": "3",
        "GPUPLAN_SEED": "17",
        "GPUPLAN_RESUME": "",
        "GPUPLAN_STOP_SIGNAL": "SIGTERM",
    }
    assert found["PYTHONUNBUFFERED"] == "1"


def test_a_run_without_a_seed_does_not_inherit_one(tmp_path: Path) -> None:
    assert environment_of(tmp_path)["GPUPLAN_SEED"] is None


def test_limits_and_signal_come_from_the_spec(tmp_path: Path) -> None:
    one = run("a", "true")
    spec: Any = {"limits": {"run": "2 h", "grace": "7 s"}, "checkpoint": {"signal": "SIGUSR1"}}
    made = prepare(site(tmp_path, plan(tmp_path, [one], **spec)), one, devices=(), attempt=1).job
    assert (made.timeout_s, made.grace_s, made.stop_signal) == (7200.0, 7.0, "SIGUSR1")
    assert made.environment["GPUPLAN_STOP_SIGNAL"] == "SIGUSR1"


def test_threads_are_those_of_a_rank(tmp_path: Path) -> None:
    assert environment_of(tmp_path)["OMP_NUM_THREADS"] == "1"
    assert environment_of(tmp_path, spec={"compute": {"threads": 6}})["MKL_NUM_THREADS"] == "6"


def test_the_variables_of_the_spec_win(tmp_path: Path) -> None:
    variables = {"OMP_NUM_THREADS": "9", "X": "\n'\""}
    found = environment_of(tmp_path, spec={"environment": Environment(variables=variables)})
    assert (found["OMP_NUM_THREADS"], found["X"]) == ("9", "\n'\"")


@pytest.mark.parametrize(
    ("mask", "devices", "visible"),
    [
        (None, (1, 3), "1,3"),
        ("5, GPU-abc,7", (1, 2), "GPU-abc,7"),
        (None, (), ""),
        ("4,5", (), ""),
        ("", (), ""),
    ],
)
def test_a_run_sees_its_gpus_only(tmp_path: Path, mask: str | None, devices: tuple[int, ...], visible: str) -> None:
    around = {} if mask is None else {"CUDA_VISIBLE_DEVICES": mask}
    found = environment_of(tmp_path, devices=devices, gpus=frozenset(range(4)), environment=around)
    assert found["CUDA_VISIBLE_DEVICES"] == visible
    assert found.get("CUDA_DEVICE_ORDER") == ("PCI_BUS_ID" if mask is None else None)


def test_a_cpu_device_is_not_a_gpu(tmp_path: Path) -> None:
    assert environment_of(tmp_path, devices=(0,), gpus=frozenset())["CUDA_VISIBLE_DEVICES"] == ""


def test_a_mask_that_hides_a_planned_gpu_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="planned on GPU 2, but CUDA_VISIBLE_DEVICES='0,1' shows 2"):
        environment_of(tmp_path, devices=(2,), gpus=frozenset({2}), environment={"CUDA_VISIBLE_DEVICES": "0,1"})


def test_torchrun_is_told_which_signal_to_pass_on(tmp_path: Path) -> None:
    spec = {"checkpoint": {"signal": "SIGUSR1"}, "limits": {"grace": "90 s"}}
    found = environment_of(tmp_path, ranks=2, spec=spec)
    assert found["PET_SIGNALS_TO_HANDLE"] == "SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1"
    assert found["TORCH_ELASTIC_SHUTDOWN_TIMEOUT"] == "90"
    assert "PET_SIGNALS_TO_HANDLE" not in environment_of(tmp_path, spec=spec)


def test_the_newest_checkpoint_is_resumed_from(tmp_path: Path) -> None:
    one = run("a", "train --out {run_dir}")
    chosen = site(tmp_path, plan(tmp_path, [one]))
    first = prepare(chosen, one, devices=(), attempt=1)
    assert first.checkpoint is None
    assert first.job.argv == argv_of(one, first.job.folder, None)
    checkpoint = first.job.folder / "checkpoint-7"
    checkpoint.write_text("weights")
    second = prepare(chosen, one, devices=(), attempt=2)
    assert second.checkpoint == checkpoint
    assert second.job.argv == argv_of(one, first.job.folder, checkpoint)
    assert second.job.environment["GPUPLAN_RESUME"] == str(checkpoint)


def test_a_run_cannot_leave_the_state_folder(tmp_path: Path) -> None:
    state = make_state(tmp_path / ".gpuplan")
    (tmp_path / "outside").mkdir()
    (state / "runs" / "link").symlink_to(tmp_path / "outside")
    (state / "runs" / "file").write_text("")
    for name in ("link", "file", "..", "../outside", "a/b"):
        one = run("a", "true").model_copy(update={"name": name})
        with pytest.raises(UserError, match="cannot be the folder of run"):
            prepare(site(tmp_path, plan(tmp_path, [])), one, devices=(), attempt=1)
    assert list((tmp_path / "outside").iterdir()) == []


def test_the_state_folder_may_lie_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "scratch").mkdir()
    (tmp_path / ".gpuplan").symlink_to(tmp_path / "scratch")
    one = run("a", "true")
    made = prepare(site(tmp_path, plan(tmp_path, [one])), one, devices=(), attempt=1).job
    assert made.folder == tmp_path / "scratch" / "runs" / "a"


def test_git_leaves_the_state_folder_alone(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    make_state(tmp_path / ".gpuplan")
    assert git(tmp_path, "status", "--porcelain") == ""


# ---------------------------------------------------------------- provenance


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false")
    return subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    folder = tmp_path / "code"
    folder.mkdir()
    git(folder, "init", "-q")
    (folder / "train.py").write_text("print(1)\n")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "first")
    return folder


def provenance_in(checkout: Path, tmp_path: Path, **changes: Any) -> Any:
    return capture(job(tmp_path / "run", "true", workdir=checkout, **changes))


def test_a_clean_checkout_is_its_commit(checkout: Path, tmp_path: Path) -> None:
    found = provenance_in(checkout, tmp_path)
    assert found.commit == git(checkout, "rev-parse", "HEAD").strip()
    assert (found.dirty, found.diff) == (False, None)
    assert found.workdir == str(checkout)


def test_an_uncommitted_change_is_kept_as_a_patch(checkout: Path, tmp_path: Path) -> None:
    (checkout / "train.py").write_text("print(2)\n")
    (checkout / "new file.py").write_text("print(3)\n")
    found = provenance_in(checkout, tmp_path, attempt=2)
    assert (found.dirty, found.diff) == (True, "provenance/attempt-2.patch")
    patch = tmp_path / "run" / found.diff
    assert "# not in git: new file.py" in patch.read_text()
    git(checkout, "checkout", "-q", "train.py")
    git(checkout, "apply", str(patch))
    assert (checkout / "train.py").read_text() == "print(2)\n"


def test_a_long_change_is_cut_and_says_so(checkout: Path, tmp_path: Path) -> None:
    (checkout / "train.py").write_text("x = 1\n" * (DIFF_LIMIT_BYTES // 4))
    found = provenance_in(checkout, tmp_path)
    patch = (tmp_path / "run" / found.diff).read_text()
    assert len(patch) < DIFF_LIMIT_BYTES + 200
    assert patch.endswith(f"# cut by gpuplan after {DIFF_LIMIT_BYTES} bytes\n")


def test_a_folder_without_a_commit_has_none(tmp_path: Path) -> None:
    assert provenance_in(tmp_path, tmp_path).commit is None
    git(tmp_path, "init", "-q")
    found = provenance_in(tmp_path, tmp_path)
    assert (found.commit, found.dirty) == (None, None)


def test_secrets_are_masked(tmp_path: Path) -> None:
    environment: dict[str, str | None] = {
        "HF_TOKEN": "hf_abc", "wandb_api_key": "abc", "DB_PASSWORD": "abc", "EMPTY_SECRET": "",
        "PROXY": "http://user:abc@host:80/", "PLAIN": "abc\n", "GONE": None,
    }  # fmt: skip
    assert provenance_in(tmp_path, tmp_path, environment=environment).environment == {
        "HF_TOKEN": "***", "wandb_api_key": "***", "DB_PASSWORD": "***", "EMPTY_SECRET": "",
        "PROXY": "http://***@host:80/", "PLAIN": "abc\n",
    }  # fmt: skip


def test_words_that_are_not_unicode_are_shown_escaped(tmp_path: Path) -> None:
    found = capture(job(tmp_path / "run", "true", os.fsdecode(b"a\xff"), workdir=tmp_path))
    assert found.argv == ("true", "a\\xff")


def test_versions_are_those_of_the_runs_python(tmp_path: Path) -> None:
    found = capture(job(tmp_path / "run", ME, "x.py", workdir=tmp_path))
    assert found.python == ME
    assert found.versions["pydantic"]
    assert found.versions["python"] == ".".join(map(str, sys.version_info[:3]))


def test_a_script_belongs_to_the_python_beside_it(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to(ME)
    script = tmp_path / "bin" / "torchrun"
    script.write_text(f"#!{tmp_path}/bin/python\n")
    script.chmod(0o755)
    python = str(tmp_path / "bin" / "python")
    assert interpreter_of(job(tmp_path / "run", "bin/torchrun", workdir=tmp_path)) == python
    assert interpreter_of(job(tmp_path / "run", "torchrun", environment={"PATH": str(tmp_path / "bin")})) == python
    assert interpreter_of(job(tmp_path / "run", "no-such-program")) is None
    assert interpreter_of(job(tmp_path / "run", "/bin/sh", "-c", "true")) is None


@pytest.mark.parametrize("answer", ["exit 1", "echo nonsense", "echo [1]", "kill -9 $$"])
def test_an_interpreter_that_does_not_answer_has_no_versions(tmp_path: Path, answer: str) -> None:
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\n{answer}\n")
    python.chmod(0o755)
    assert versions_of(str(python)) == {}
