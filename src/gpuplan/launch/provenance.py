"""Captures what exactly a run is about to execute: code, packages, environment. It never changes any of them."""

from __future__ import annotations

import functools
import json
import os
import platform
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from gpuplan.model import Provenance

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gpuplan.launch.base import Job

__all__ = ["capture", "interpreter_of", "versions_of"]

DIFF_LIMIT_BYTES = 1_000_000
UNTRACKED_LIMIT = 1000
GIT_LIMIT_S = 20.0
VERSIONS_LIMIT_S = 60.0
SECRET = re.compile(r"TOKEN|KEY|SECRET|PASSW|CREDENTIAL|AUTH", re.IGNORECASE)
LOGIN = re.compile(r"(?<=://)[^/@\s]+(?=@)")
GIT = ("git", "--no-pager", "-c", "core.fsmonitor=false")

VERSIONS_PROGRAM = """
import json, platform
from importlib import metadata
found = {}
for one in metadata.distributions():
    name = one.metadata["Name"]
    if name and one.version:
        found.setdefault(name.lower().replace("_", "-"), one.version)
found["python"] = platform.python_version()
print(json.dumps(found, sort_keys=True))
"""


class Code(NamedTuple):
    """The state of the git checkout that a run starts in."""

    commit: str | None = None
    dirty: bool | None = None
    diff: str | None = None


def capture(job: Job) -> Provenance:
    """Everything about `job` that decides what it computes; the uncommitted change is stored in its folder."""
    python = interpreter_of(job)
    code = _code(job)
    return Provenance(
        argv=tuple(_readable(word) for word in job.argv),
        workdir=_readable(str(job.workdir)),
        commit=code.commit,
        dirty=code.dirty,
        diff=code.diff,
        python=_readable(python) if python else None,
        versions=versions_of(python) if python else {},
        environment=_masked(job.environment),
        machine=platform.node(),
    )


def _readable(text: str) -> str:
    """Text that is valid Unicode: bytes of names in other encodings are shown escaped."""
    return os.fsencode(text).decode("utf-8", "backslashreplace")


def _masked(environment: Mapping[str, str | None]) -> dict[str, str]:
    """What is set, without secrets: neither those with a telling name, nor logins inside of addresses."""
    return {
        _readable(name): "***" if value and SECRET.search(name) else LOGIN.sub("***", _readable(value))
        for name, value in environment.items()
        if value is not None
    }


# ---------------------------------------------------------------- packages


def interpreter_of(job: Job) -> str | None:
    """The Python that the command runs in: its program, or the one beside it (torchrun, accelerate)."""
    search = job.environment.get("PATH") or os.environ.get("PATH")
    program = shutil.which(str(job.workdir / job.argv[0]) if "/" in job.argv[0] else job.argv[0], path=search)
    if program is None:
        return None
    if re.fullmatch(r"(python|pypy)[0-9.]*", Path(program).name):
        return program
    beside = Path(program).with_name("python")
    return str(beside) if beside.exists() and _is_python_script(Path(program)) else None


def _is_python_script(program: Path) -> bool:
    try:
        with program.open("rb") as file:
            first = file.readline(1000)
    except OSError:
        return False
    return first.startswith(b"#!") and b"python" in first


@functools.cache
def versions_of(python: str) -> dict[str, str]:
    """Versions of all packages in the environment of the interpreter, asked once; empty if it does not answer."""
    try:
        done = subprocess.run(
            [python, "-c", VERSIONS_PROGRAM],
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=VERSIONS_LIMIT_S,
            check=True,
        )
        return {str(name): str(version) for name, version in json.loads(done.stdout).items()}
    except (OSError, subprocess.SubprocessError, ValueError, AttributeError):
        return {}


# ---------------------------------------------------------------- code


def _code(job: Job) -> Code:
    """Commit and cleanliness in one call of git; the diff only where there is one."""
    status = _git(job.workdir, "status", "--porcelain=v2", "--branch", "--untracked-files=normal")
    if status is None:
        return Code()
    lines = status.decode("utf-8", "backslashreplace").splitlines()
    commit = next((line.split()[2] for line in lines if line.startswith("# branch.oid ")), "(initial)")
    if commit == "(initial)":
        return Code()
    changed = any(line[0] not in "#?" for line in lines)
    untracked = [line[2:] for line in lines if line.startswith("? ")]
    if not changed and not untracked:
        return Code(commit, dirty=False)
    return Code(commit, dirty=changed, diff=_store_diff(job, untracked))


def _store_diff(job: Job, untracked: list[str]) -> str:
    """Write the uncommitted change as a patch, and above it the names of files that git does not hold."""
    place = Path("provenance") / f"attempt-{job.attempt}.patch"
    target = job.folder / place
    target.parent.mkdir(parents=True, exist_ok=True)
    diff = _diff(job.workdir)
    with target.open("wb") as file:
        file.writelines(f"# not in git: {name}\n".encode() for name in untracked[:UNTRACKED_LIMIT])
        file.write(diff[:DIFF_LIMIT_BYTES])
        if len(diff) > DIFF_LIMIT_BYTES:
            file.write(f"\n# cut by gpuplan after {DIFF_LIMIT_BYTES} bytes\n".encode())
    return str(place)


def _diff(workdir: Path) -> bytes:
    """The change against HEAD, read no further than needed to know that it is too long."""
    command = [*GIT, "diff", "--no-ext-diff", "--no-textconv", "--no-color", "HEAD"]
    with subprocess.Popen(
        command, cwd=workdir, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as git:
        assert git.stdout is not None
        found = git.stdout.read(DIFF_LIMIT_BYTES + 1)
        git.kill()
    return found


def _git(workdir: Path, *arguments: str) -> bytes | None:
    try:
        return subprocess.run(
            [*GIT, *arguments],
            cwd=workdir,
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=GIT_LIMIT_S,
            check=True,
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
