from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gpuplan.errors import UserError
from gpuplan.model import Run, RunRecord
from gpuplan.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator

WRITE_AND_DIE = """
import os, signal, sys
from pathlib import Path
from gpuplan.model import Run, RunRecord
from gpuplan.store import Store
store = Store(Path(sys.argv[1]))
for number in range(5):
    run = Run(name=f"r{number}", key="k", settings={}, point={}, command="true")
    store.save(RunRecord(experiment="e", run=run, folder=f"/f/{number}", state="running", attempt=1))
if len(sys.argv) > 2:
    connection = store.database.connection
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("UPDATE runs SET state = 'lost'")
os.kill(os.getpid(), signal.SIGKILL)
"""


def record(name: str) -> RunRecord:
    run = Run(name=name, key="k", settings={"text": "x" * 2000}, point={}, command="true")
    return RunRecord(experiment="e", run=run, folder=f"/runs/{name}", state="running", attempt=1)


def die_writing(folder: Path, *, inside_a_transaction: bool = False) -> Path:
    path = folder / "store.db"
    arguments = [sys.executable, "-c", WRITE_AND_DIE, str(path), *["inside"] * inside_a_transaction]
    assert subprocess.run(arguments, check=False).returncode == -signal.SIGKILL
    assert Path(f"{path}-wal").stat().st_size > 0
    return path


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte of our own."""
    if os.geteuid() != 0 or sys.platform != "linux":
        pytest.skip("mounting a small file system needs root on Linux")
    folder = tmp_path / "volume"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", folder], check=False).returncode:
        pytest.skip("this container may not mount")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def make_read_only(folder: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", folder], check=True)


@pytest.mark.parametrize("left", ["log and index", "log", "neither"])
def test_a_read_only_folder_can_be_read(volume: Path, left: str) -> None:
    """As gpuplan left it when it was killed; after a backup, which has no index; and after an end in good order."""
    path = die_writing(volume)
    if left == "log":
        Path(f"{path}-shm").unlink()
    if left == "neither":
        Store(path).close()
    names = {entry.name for entry in volume.iterdir()}
    make_read_only(volume)
    with Store.to_read(path) as store:
        assert len(store.records("e")) == 5
    assert {entry.name for entry in volume.iterdir()} == names


def test_a_read_only_folder_cannot_be_written(volume: Path) -> None:
    path = die_writing(volume)
    make_read_only(volume)
    with pytest.raises(UserError, match=r"cannot use .*store\.db") as raised:
        Store(path)
    assert "make it writable" in (raised.value.hint or "")
    assert raised.value.exit_code == 1


def test_permissions_can_be_read_and_not_written(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("permissions do not bind root; the read-only file system is tested instead")
    path = die_writing(tmp_path)
    path.chmod(stat.S_IRUSR)
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    try:
        with pytest.raises(UserError, match="cannot use"):
            Store(path)
        with Store.to_read(path) as store:
            assert len(store.records("e")) == 5
    finally:
        tmp_path.chmod(stat.S_IRWXU)


def test_a_full_disk_loses_nothing_that_was_committed(volume: Path) -> None:
    kept: list[str] = []
    with Store(volume / "store.db") as store:

        def fill() -> None:
            for number in range(100_000):
                store.save(record(f"r{number}"))
                kept.append(f"r{number}")

        with pytest.raises(UserError, match="cannot use") as raised:
            fill()
        assert "free space" in (raised.value.hint or "")
        assert [one.run.name for one in store.records()] == kept
        subprocess.run(["mount", "-o", "remount,size=4m", volume], check=True)
        store.save(record("after"))
    with Store(volume / "store.db") as store:
        assert [one.run.name for one in store.records()] == [*kept, "after"]
        assert store.database.rows("PRAGMA integrity_check")[0][0] == "ok"
