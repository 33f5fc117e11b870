"""`gpuplan logs`, as a user types it: into a pipe byte for byte, on a terminal without commands to it."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gpuplan.cli.main import main
from gpuplan.flow import live
from gpuplan.flow.state import State
from gpuplan.model import Run, RunRecord

EVIL = "\x1b[2J\x1b]0;title\x07\x9b31m\u202egnp.exe\x00"


def record(name: str = "a", **changes: Any) -> Path:
    """A run of this name that has ended, and where its log lies."""
    folder = Path(".gpuplan", "runs", name).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    values: dict[str, Any] = {
        "experiment": "e",
        "run": Run(name=name, key="k", settings={}, point={}, command="true"),
        "folder": str(folder),
        "state": "finished",
        "attempt": 1,
        "started_at": 1.0,
        "ended_at": 2.0,
    }
    with State(Path(".gpuplan")).writing() as store:
        store.save(RunRecord(**(values | changes)))
    return folder / "log.txt"


def logs(*words: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["logs", *words])
    return int(str(ended.value.code))


def on_a_terminal(*words: str) -> str:
    """What the command writes where its output is a terminal."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "gpuplan", "logs", *words]
    with subprocess.Popen(command, stdout=theirs, stdin=subprocess.DEVNULL) as process:
        os.close(theirs)
        written = b""
        while True:
            try:
                written += (piece := os.read(ours, 65536))
            except OSError:  # how Linux says that nobody writes there any more
                break
            if not piece:
                break
    os.close(ours)
    assert process.returncode == 0
    return written.decode().replace("\r\n", "\n")


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_into_a_pipe_it_goes_byte_for_byte(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    content = b"x" + "\u20ac".encode() * (live.CHUNK_BYTES // 2) + EVIL.encode() + b"\xff\xfe\r\n"
    record().write_bytes(content)
    assert logs("a") == 0
    assert capfdbinary.readouterr().out == content


def test_on_a_terminal_nothing_commands_it() -> None:
    record().write_text(f"first\n{EVIL}\n 10%|#\r 20%|##\ttab\n", "utf-8")
    shown = on_a_terminal("a")
    assert shown == ("first\n\\x1b[2J\\x1b]0;title\\x07\\x9b31m\\u202egnp.exe\\x00\n 10%|#\r 20%|##\ttab\n")


def test_on_a_terminal_no_character_breaks_where_a_piece_ends() -> None:
    text = "\u20ac" * (live.CHUNK_BYTES // 2) + "\n"
    assert live.CHUNK_BYTES % 3
    record().write_text(text, "utf-8")
    assert on_a_terminal("a") == text


def test_on_a_terminal_what_is_no_text_is_shown_as_such() -> None:
    record().write_bytes(b"a\xffb\ncut \xe2\x82")
    assert on_a_terminal("a") == "a\ufffdb\ncut \ufffd"


@pytest.mark.parametrize("piece", [7, 1024 * 1024])
@pytest.mark.parametrize("end", ["", "\n"])
def test_the_last_lines_are_those_that_a_line_feed_ends(
    capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch, piece: int, end: str
) -> None:
    monkeypatch.setattr(live, "CHUNK_BYTES", piece)
    lines = ["first", *(f"line {number}" for number in range(8)), "\r".join(f"{done}%|#" for done in range(50)), "end"]
    record().write_text("\n".join(lines) + end, "utf-8", newline="")
    for count in (1, 2, 3, 10, 11, 12, 1000):
        assert logs("a", "-n", str(count)) == 0
        assert capfdbinary.readouterr().out.decode() == "\n".join(lines[-count:]) + end


def test_many_last_lines_are_not_cut_at_a_mebibyte(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    lines = [f"{number:09d}" for number in range(150_000)]
    record().write_text("\n".join(lines) + "\n", "utf-8")
    assert logs("a", "-n", "120000") == 0
    assert capfdbinary.readouterr().out.split() == [line.encode() for line in lines[-120_000:]]


def test_a_run_that_wrote_nothing_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    record().touch()
    assert logs("a") == 0
    assert capsys.readouterr() == ("", "a is finished and has written nothing\n")
    record("b", state="starting", ended_at=None)
    assert logs("b") == 0
    assert capsys.readouterr() == ("", "b is starting and has written nothing yet\n")


def test_a_log_that_is_gone_is_the_machines_fault(capsys: pytest.CaptureFixture[str]) -> None:
    path = record()
    assert logs("a", "-n", "3") == 1
    assert f"a has no log: {path} is not there" in capsys.readouterr().err
