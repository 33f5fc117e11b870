"""Two hundred damaged logs of all formats: each gives flags or a refusal, never an error, a hang or a lie."""

from __future__ import annotations

import bz2
import gzip
import lzma
import math
import os
import random
import time
from pathlib import Path
from typing import TYPE_CHECKING

import log_samples as samples
import pytest

from gpuplan.model import LoggedRun
from gpuplan.observe.logs import Refusal, read_logs

if TYPE_CHECKING:
    from collections.abc import Callable

SEED = 20261120
LOGS = 200
MOST_S = 20.0
"""Of one log: a hang would be longer."""


def truncated(content: bytes, rng: random.Random) -> bytes:
    return content[: rng.randrange(1, len(content))]


def without_a_middle(content: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(content))
    return content[:start] + content[start + rng.randrange(1, 500) :]


def flipped(content: bytes, rng: random.Random) -> bytes:
    out = bytearray(content)
    for _ in range(rng.randrange(1, 40)):
        out[rng.randrange(len(out))] = rng.randrange(256)
    return bytes(out)


def with_nul(content: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(content))
    return content[:start] + b"\0" * rng.randrange(1, 5000) + content[start:]


def with_rubbish(content: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(content))
    return content[:start] + rng.randbytes(rng.randrange(1, 3000)) + content[start:]


def numbers_replaced(by: bytes) -> Callable[[bytes, random.Random], bytes]:
    """Some digits of some numbers become something else."""

    def mutate(content: bytes, rng: random.Random) -> bytes:
        lines = content.split(b"\n")
        for _ in range(max(1, len(lines) // 10)):
            index = rng.randrange(len(lines))
            parts = lines[index].split(b" ")
            at = rng.randrange(len(parts))
            parts[at] = parts[at][:2] + by if rng.random() < 0.5 else by
            lines[index] = b" ".join(parts)
        return b"\n".join(lines)

    return mutate


def other_line_ends(content: bytes, _: random.Random) -> bytes:
    return content.replace(b"\n", b"\r\n")


def with_mark(content: bytes, _: random.Random) -> bytes:
    return b"\xef\xbb\xbf" + content


def utf_16(content: bytes, rng: random.Random) -> bytes:
    return content.decode("utf-8", "replace").encode(rng.choice(["utf-16", "utf-16-le", "utf-16-be"]))


def mixed_encodings(content: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(content))
    return content[:start] + content[start:].decode("utf-8", "replace").encode("utf-16-le")


def very_wide_line(content: bytes, rng: random.Random) -> bytes:
    start = content.find(b"\n", rng.randrange(len(content))) + 1
    return content[:start] + b"1," * 1_000_000 + b"\n" + content[start:]


def shuffled(content: bytes, rng: random.Random) -> bytes:
    lines = content.split(b"\n")
    head, rest = lines[:1], lines[1:]
    rng.shuffle(rest)
    return b"\n".join(head + rest)


def doubled(content: bytes, _: random.Random) -> bytes:
    return content + content


def half_a_gzip(content: bytes, rng: random.Random) -> bytes:
    packed = gzip.compress(content)
    return packed[: rng.randrange(5, len(packed))]


def flipped_gzip(content: bytes, rng: random.Random) -> bytes:
    return flipped(gzip.compress(content), rng)


def not_a_gzip(content: bytes, _: random.Random) -> bytes:
    return b"\x1f\x8b" + content


def half_an_xz(content: bytes, rng: random.Random) -> bytes:
    packed = lzma.compress(content) if rng.random() < 0.5 else bz2.compress(content)
    return packed[: rng.randrange(8, len(packed))]


MUTATORS: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    truncated,
    without_a_middle,
    flipped,
    with_nul,
    with_rubbish,
    numbers_replaced(b"nan"),
    numbers_replaced(b"-3.5"),
    numbers_replaced(b"0"),
    numbers_replaced(b"9" * 400),
    numbers_replaced(b"1e400"),
    numbers_replaced(b"1_000"),
    numbers_replaced("١٢٣".encode()),
    other_line_ends,
    with_mark,
    utf_16,
    mixed_encodings,
    very_wide_line,
    shuffled,
    doubled,
    half_a_gzip,
    flipped_gzip,
    not_a_gzip,
    half_an_xz,
)


def damaged(number: int) -> tuple[str, bytes]:
    """The damaged log of this number: all formats in turn, each with another damage each time."""
    rng = random.Random(f"{SEED}-{number}")
    names = sorted(SAMPLES)
    name = names[number % len(names)]
    mutate = MUTATORS[(number // len(names) + 5 * number) % len(MUTATORS)]
    return f"{number}-{name}", mutate(SAMPLES[name], rng)


SAMPLES = samples.all_samples()


def assert_plausible(run: LoggedRun) -> None:
    """No number from rubbish: each is what the undamaged log could say, or at least what can be."""
    measured = run.measurement
    seconds = (measured.step_s, measured.step_p10_s, measured.step_p90_s, measured.epoch_s, measured.duration_s)
    rates = (measured.samples_per_s, measured.tokens_per_s)
    for figure in (*seconds, *rates):
        assert figure is None or (math.isfinite(figure) and 0 < figure < 1e12), run
    for size in (measured.peak_allocated_bytes, measured.peak_reserved_bytes, measured.peak_device_bytes):
        assert size is None or 2**20 <= size <= 2**41, run
    for share in (measured.device_busy, measured.cpu_busy):
        assert share is None or 0 <= share <= 1, run
    assert 0 <= measured.steps <= 10**12
    assert all(math.isfinite(value) for value in (*measured.final.values(), *measured.best.values()))
    assert all(math.isfinite(value) for figures in run.epochs.values() for value in figures)
    assert measured.step_s is None or measured.step_s == pytest.approx(samples.STEP_S, rel=0.5), run
    assert run.name.isprintable()


@pytest.mark.parametrize("first", range(0, LOGS, 20))
def test_damaged_logs(tmp_path: Path, first: int) -> None:
    for number in range(first, first + 20):
        name, content = damaged(number)
        path = tmp_path / name
        path.write_bytes(content)
        started = time.monotonic()
        found = list(read_logs(path))
        assert time.monotonic() - started < MOST_S, name
        assert found, name
        for each in found:
            if isinstance(each, Refusal):
                assert each.reason
                assert each.path == str(path)
            else:
                assert_plausible(each)


def test_each_format_meets_many_damages() -> None:
    met = {(damaged_name(number)) for number in range(LOGS)}
    assert len(met) == LOGS
    for name in SAMPLES:
        assert len({mutator for sample, mutator in met if sample == name}) >= 8


def damaged_name(number: int) -> tuple[str, int]:
    names = sorted(SAMPLES)
    return names[number % len(names)], (number // len(names) + 5 * number) % len(MUTATORS)


# ---------------------------------------------------------------- what must be said, kind by kind


def verdict(path: Path) -> str:
    """All that was said against a file."""
    said = []
    for each in read_logs(path):
        said += [each.reason] if isinstance(each, Refusal) else list(each.measurement.flags)
    return " | ".join(said)


def put(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("empty.log", b"", "it is empty"),
        ("rubbish.log", random.Random(1).randbytes(100_000), "of no format"),
        ("zeros.log", bytes(3_000_000), "of no format"),
        ("half.csv", samples.csv_steps().encode()[:-3], "the last line is cut off"),
        ("half.log", samples.nanogpt().encode()[:-9], "the last line is cut off"),
        ("half.json", samples.trainer_state().encode()[:-400], "its end is cut off"),
        ("half.wandb", samples.wandb()[:-50], "its end is cut off"),
        ("half.tfevents", samples.tensorboard()[:-5], "its end is cut off"),
        ("bad.gz", b"\x1f\x8b" + b"x" * 500, "damaged from the beginning"),
        ("half.gz", gzip.compress(samples.csv_steps(steps=20_000).encode())[:-2000], "damaged or cut off"),
        ("a.zst", b"\x28\xb5\x2f\xfd" + bytes(50), "zstd -d"),
        ("a.zip", b"PK\x03\x04" + bytes(50), "unpack it first"),
    ],
)
def test_what_is_said(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    assert said in verdict(put(tmp_path, name, content))


def bomb(pack: Callable[[bytes], bytes]) -> bytes:
    """What unpacks to far more than it is: the same packed part again and again."""
    return pack(samples.csv_steps(steps=3000).encode()) + pack(bytes(32 * 2**20)) * 8


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_bombs_are_refused(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    started = time.monotonic()
    assert "unpacks to more than" in verdict(put(tmp_path, "bomb", bomb(pack)))
    assert time.monotonic() - started < MOST_S


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_packed_logs_are_read(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    (found,) = read_logs(put(tmp_path, "steps.csv.packed", pack(samples.csv_steps().encode())))
    assert isinstance(found, LoggedRun)
    assert (found.measurement.steps, found.measurement.step_s) == (499, samples.STEP_S)


@pytest.mark.parametrize("mutate", [utf_16, other_line_ends, with_mark])
def test_encodings_and_line_ends_change_nothing(
    tmp_path: Path, mutate: Callable[[bytes, random.Random], bytes]
) -> None:
    for name in samples.TEXTS:
        plain, other = (
            put(tmp_path, "plain", SAMPLES[name]),
            put(tmp_path, "other", mutate(SAMPLES[name], random.Random(1))),
        )
        before, after = (
            [each.measurement for each in read_logs(path) if isinstance(each, LoggedRun)] for path in (plain, other)
        )
        unflagged = [each.model_copy(update={"flags": ()}) for each in before]
        assert [each.model_copy(update={"flags": ()}) for each in after] == unflagged, name


def test_links_pipes_and_missing_files(tmp_path: Path) -> None:
    (tmp_path / "circle").symlink_to(tmp_path)
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    os.mkfifo(tmp_path / "pipe")
    put(tmp_path, "steps.csv", samples.csv_steps().encode())
    found = list(read_logs(tmp_path))
    assert len([each for each in found if isinstance(each, LoggedRun)]) == 1
    assert {Path(each.path).name for each in found if isinstance(each, Refusal)} >= {"a", "b", "pipe"}
    assert verdict(tmp_path / "nothing") == "there is no such file"


def test_two_programs_of_a_progress_bar_in_turns(tmp_path: Path) -> None:
    """What cannot be told apart is said, or the steps of one are taken: never a mixture."""
    rows = samples.torchtune_bar().split("\r")
    other = samples.torchtune_bar(steps=150).replace("Loss: ", "Loss: 1").split("\r")
    mixed = "\r".join(row for pair in zip(rows, other, strict=False) for row in pair)
    for found in read_logs(put(tmp_path, "mixed.out", mixed.encode())):
        assert isinstance(found, LoggedRun)
        assert found.measurement.flags
        assert_plausible(found)
