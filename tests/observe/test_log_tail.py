"""The end of a log: encodings, terminals, secrets, limits."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpuplan.observe.log_tail import MASK, clean_lines, mask_secrets, read_tail


def log(folder: Path, content: bytes) -> Path:
    path = folder / "log.txt"
    path.write_bytes(content)
    return path


def test_only_the_end_is_read_and_no_half_line(tmp_path: Path) -> None:
    lines = b"".join(b"line %d\n" % number for number in range(100_000))
    found = read_tail(log(tmp_path, lines), most_bytes=1000)
    assert found[-1] == "line 99999"
    assert 50 < len(found) < 100
    assert all(line.startswith("line ") for line in found)


def test_a_last_line_without_an_end_counts(tmp_path: Path) -> None:
    assert read_tail(log(tmp_path, b"one\ntwo")) == ("one", "two")
    assert read_tail(log(tmp_path, b"one\r\ntwo\r\n\n\n")) == ("one", "two")


def test_progress_bars_end_as_their_last_state(tmp_path: Path) -> None:
    bar = b"".join(b"\r%3d%%|#####     | %d/100 [00:01<00:09]" % (step, step) for step in range(100))
    assert read_tail(log(tmp_path, b"begin\n" + bar + b"\r\nend\n")) == (
        "begin",
        " 99%|#####     | 99/100 [00:01<00:09]",
        "end",
    )


def test_a_progress_bar_longer_than_the_limit(tmp_path: Path) -> None:
    found = read_tail(log(tmp_path, b"\r50% done" * 100_000 + b"\nValueError: no\n"))
    assert found[-1] == "ValueError: no"


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("\x1b[31mred\x1b[0m and \x1b[1;32mgreen\x1b[m", "red and green"),
        ("\x1b]0;a title\x07text", "text"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("a\tb\x00c\x07d\x08e", "a    bcde"),
        ("\u202eevil\u202c \u200bzero", "evil zero"),
        ("\x1b[2J\x1b[Hgone", "gone"),
        ("half an escape \x1b[3", "half an escape 3"),
        ("größer 中文 🙂", "größer 中文 🙂"),
    ],
)
def test_what_a_terminal_would_obey_is_removed(written: str, shown: str) -> None:
    assert clean_lines(written) == (shown,)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-8", "utf-8-sig"])
def test_encodings(tmp_path: Path, encoding: str) -> None:
    content = "step one of many\nOutOfMemoryError: größer\n".encode(encoding)
    assert read_tail(log(tmp_path, content)) == ("step one of many", "OutOfMemoryError: größer")


def test_bytes_of_no_encoding_are_no_error(tmp_path: Path) -> None:
    assert read_tail(log(tmp_path, b"caf\xe9 \xff\xfe ok\n")) == ("caf\ufffd \ufffd\ufffd ok",)


def test_long_lines_and_many_lines_are_cut(tmp_path: Path) -> None:
    found = read_tail(log(tmp_path, b"x" * 5000 + b"\n" + b"y\n" * 10_000), most_bytes=10**6)
    assert len(found) <= 4000
    assert clean_lines("x" * 5000) == ("x" * 500 + "...",)


@pytest.mark.parametrize(
    "secret",
    [
        "HF_TOKEN=abcdef123456",
        "export WANDB_API_KEY='0123456789abcdef0123456789abcdef01234567'",
        '{"api_key": "q9w8e7r6t5"}',
        "password: hunter2hunter2",
        "Authorization: Bearer abc.def-ghi_jkl",
        "https://user:s3cretpw@example.org/x",
        "AWS_SECRET_ACCESS_KEY=abcd/efgh+ijkl",
        "--auth-token=abcd1234x",
        "python train.py --password hunter2hunter2 --lr 0.1",
        "curl --api-key abcd1234x",
        f"token is {'hf_' + 'a' * 30}",
        f"key {'sk-' + 'b' * 40} used",
        f"{'ghp_' + 'c' * 36}",
        f"{'AKIA' + 'D' * 16}",
    ],
)
def test_secrets_are_masked(secret: str) -> None:
    masked = mask_secrets(secret)
    assert MASK in masked
    for word in (
        "abcdef123456",
        "0123456789abcdef",
        "q9w8e7",
        "hunter2",
        "abc.def",
        "s3cretpw",
        "abcd",
        "aaaa",
        "bbbb",
        "cccc",
        "DDDD",
    ):
        assert word not in masked


@pytest.mark.parametrize(
    "line",
    [
        "max_tokens=512 num_tokens: 15000 tokens/s: 1234.5",
        "tokenizer=bert-base-uncased",
        "token: 15000",
        "loss=0.1234 acc: 0.9",
        "https://example.org:8080/path",
        "RuntimeError: CUDA out of memory.",
        "task-specific sk-learn",
        "--max-tokens 512 --key-dim 64 --secret --lr 0.1",
    ],
)
def test_what_is_no_secret_stays(line: str) -> None:
    assert mask_secrets(line) == line


def test_a_real_program_with_a_progress_bar(tmp_path: Path) -> None:
    code = "import sys\nfor i in range(50): print(f'\\r{i}', end='', file=sys.stderr)\nprint('\\nMY_TOKEN=abc123xyz')"
    path = tmp_path / "log.txt"
    with path.open("wb") as file:
        subprocess.run([sys.executable, "-u", "-c", code], stdout=file, stderr=file, check=True)
    assert read_tail(path) == ("49", f"MY_TOKEN={MASK}")


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, lambda path: path.symlink_to("/dev/zero"), lambda _path: None])
def test_what_is_no_file_has_no_end(tmp_path: Path, make: Any) -> None:
    make(tmp_path / "log.txt")
    assert read_tail(tmp_path / "log.txt") == ()


@given(st.text())
@settings(deadline=None)
def test_lines_can_be_printed(text: str) -> None:
    for line in clean_lines(text):
        assert line.isprintable()
        assert len(line) <= 503
