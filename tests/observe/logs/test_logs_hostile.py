"""Names that command terminals, files without an end, folders that are closed: refused with a reason, never raised."""

from __future__ import annotations

import os
import pickle
import zipfile
from pathlib import Path

import log_samples as samples
import pytest
from test_logs_formats import only, written

from gpuplan.model import LoggedRun
from gpuplan.observe.logs import Refusal, read_logs


def refused(path: Path) -> str:
    (found,) = read_logs(path)
    assert isinstance(found, Refusal), found
    return found.reason


@pytest.mark.parametrize("name", [b"bad_\xff\xfe.csv", b"\x1b[31mred\nline.csv", "zero\u200bwidth.csv".encode()])
def test_no_name_of_a_file_reaches_a_terminal_or_breaks_the_json(tmp_path: Path, name: bytes) -> None:
    path = Path(os.fsdecode(os.path.join(os.fsencode(tmp_path), name)))  # noqa: PTH118  pathlib has no bytes
    path.write_bytes(samples.csv_steps().encode()[:-3])
    for run in (only(path), only(tmp_path)):
        run.model_dump_json()
        texts = (run.name, run.path, *run.notes, *run.measurement.flags)
        assert run.measurement.flags
        assert all(text.isprintable() and text.isascii() for text in texts)
    path.write_bytes(b"\x1f\x8b" + b"x" * 500)
    (found,) = read_logs(path)
    assert isinstance(found, Refusal)
    assert found.path.isprintable()


def test_the_name_of_a_column_that_cannot_be_shown_is_left_out_and_said(tmp_path: Path) -> None:
    rows = "".join(f"{step},1.5,0.5\n" for step in range(50))
    run = only(written(tmp_path, "m.csv", f"step,\x1b[31mloss\x1b[0m,step_time_s\n{rows}"))
    assert run.measurement.final == {}
    assert any(r"\x1b[31mloss" in flag and flag.isprintable() for flag in run.measurement.flags)


@pytest.mark.skipif(not Path("/proc/kmsg").exists(), reason="there is no such file system here")
def test_a_file_without_a_size_is_not_waited_for() -> None:
    assert refused(Path("/proc/kmsg")) == "it is empty"
    assert refused(Path("/dev/zero")) == "not a regular file"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_is_named(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir()
    written(tmp_path, "m.csv", samples.csv_steps()).chmod(0)
    for mode in (0o000, 0o400):
        closed.chmod(mode)
        found = list(read_logs(tmp_path))
        assert all(isinstance(each, Refusal) and "Permission denied" in each.reason for each in found)
        assert {Path(each.path).name for each in found} >= {"m.csv"}
    closed.chmod(0)
    assert {Path(each.path).name for each in read_logs(tmp_path)} == {"closed", "m.csv"}
    assert "Permission denied" in refused(closed / "inside")
    closed.chmod(0o700)


def test_a_link_to_a_folder_elsewhere_is_named(tmp_path: Path) -> None:
    elsewhere, logs = tmp_path / "elsewhere", tmp_path / "logs"
    elsewhere.mkdir()
    logs.mkdir()
    written(elsewhere, "m.csv", samples.csv_steps())
    (logs / "run").symlink_to(elsewhere)
    (logs / "circle").symlink_to(logs)
    (found,) = read_logs(logs)
    assert isinstance(found, Refusal)
    assert (found.path, "name it itself" in found.reason) == (str(logs / "run"), True)
    assert isinstance(next(iter(read_logs(logs / "run"))), LoggedRun)


def test_what_is_no_log_is_called_by_its_name(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "model.pt", "w") as file:
        file.writestr("model/data.pkl", b"\x80\x02}q\x00.")
    assert refused(tmp_path / "model.pt") == "weights or a state that PyTorch saved, no log"
    assert "safetensors" in refused(written(tmp_path, "a", (64).to_bytes(8, "little") + b'{"__metadata__"' + bytes(99)))
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        assert "pickled" in refused(written(tmp_path, "b", pickle.dumps({"step": 1}, protocol)))
    assert "SQLite" in refused(written(tmp_path, "c", b"SQLite format 3\0" + bytes(99)))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("| NVIDIA-SMI 550.54.15   Driver Version: 550.54.15 |\n", "--query-gpu"),
        (
            "# gpu   pwr gtemp    sm   mem\n# Idx     W     C     %     %\n    0   300    60    95    40\n",
            "--query-gpu",
        ),
        (
            "JobID           JobName      State \n------------ ---------- ---------- \n4711  train  COMPLETED\n",
            "sacct -P",
        ),
        ("Epoch 2/2  ━━━━━━━━ 50/50 0:00:01 • 0:00:00 30.82it/s v_num: 0\n", "bar of rich"),
        ("\r1it [00:01,  2.00it/s]\r2it [00:02,  2.00it/s]", "total="),
        (f"\r 50%|{samples.BAR}| 16000/32000 [01:00<01:00, 64.00samples/s]", "it/s"),
        ("hello\n", "of no format"),
    ],
)
def test_a_text_that_is_nearly_a_log_is_refused_with_what_to_do(tmp_path: Path, text: str, said: str) -> None:
    assert said in refused(written(tmp_path, "job.txt", text))


def test_a_short_packed_log_that_is_cut_off_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    import gzip

    packed = gzip.compress(samples.csv_steps(steps=1000).encode())
    run = only(written(tmp_path, "m.csv.gz", packed[:-500]))
    assert 100 < run.measurement.steps < 999
    assert any("cut off" in flag for flag in run.measurement.flags)
