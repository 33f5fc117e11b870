from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from workbench import Bench, plan, run, wait_until

from gpuplan.errors import UserError
from gpuplan.launch import folder as record_of
from gpuplan.launch.prepare import make_state
from gpuplan.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


FOREVER = "while :; do sleep 0.05; done"


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Bench]:
    """A bench on a file system of one megabyte."""
    if os.geteuid() != 0 or sys.platform != "linux":
        pytest.skip("mounting a small file system needs root on Linux")
    folder = tmp_path / "small"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", folder], check=False).returncode:
        pytest.skip("this container may not mount")
    made = Bench(folder)
    yield made
    made.clear()
    subprocess.run(["umount", "-l", folder], check=True)


def fill(folder: Path) -> None:
    """Leave not a byte free."""
    with (folder / "ballast").open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(b"x" * 4096):
            pass


def test_a_full_disk_is_an_error_and_the_run_is_taken_up_later(small: Bench, tmp_path: Path) -> None:
    """It is full at the end of the run: the shim still writes it down, the store cannot, and nothing is lost."""
    waits = f"echo x >> ran; until [ -e {tmp_path}/go ]; do sleep 0.05; done"
    made = plan(small.base, [run("a", f"sh -c '{waits}'"), run("b", "touch b")])

    def fill_and_go() -> None:
        fill(small.base)
        (tmp_path / "go").touch()

    ran = small.base / "ran"
    thread = small.later(lambda: ran.exists() and ran.stat().st_size == 2, fill_and_go)
    with pytest.raises(UserError, match=r"cannot (use|write)") as raised:
        small.conduct(made)
    thread.join()
    assert "free space" in (raised.value.hint or "")
    assert raised.value.exit_code == 1
    wait_until(lambda: not record_of.is_locked(small.folder("a")), what="the end of a")
    status = record_of.read_status(small.folder("a"))
    assert status is not None
    assert status.ending is not None
    assert status.ending.exit_code == 0
    (small.base / "ballast").unlink()
    small.store.close()
    small.store = Store(small.state / "store.db")
    assert small.conduct(made).states == {"a": "finished", "b": "finished"}
    assert ran.read_text() == "x\n"
    assert small.record("a").attempt == 1


def test_on_a_full_disk_nothing_is_started(small: Bench, tmp_path: Path) -> None:
    make_state(small.state)
    fill(small.base)
    with pytest.raises(UserError, match=r"cannot (use|write)"):
        small.conduct(plan(small.base, [run("a", f"touch {tmp_path}/never")]))
    assert not (tmp_path / "never").exists()
    (small.base / "ballast").unlink()
    assert small.conduct(plan(small.base, [run("a", "true")])).states == {"a": "finished"}


def test_a_read_only_folder_is_an_error_at_once(small: Bench) -> None:
    small.store.close()
    subprocess.run(["mount", "-o", "remount,ro", small.base], check=True)
    with pytest.raises(UserError, match="cannot write to"):
        make_state(small.state)
    with pytest.raises(UserError, match="cannot use"):
        Store(small.state / "store.db")
