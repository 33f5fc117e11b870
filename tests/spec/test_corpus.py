"""Malformed specs: each is refused at its place, with exit code 2, and never with another kind of error.

`corpus/expected.txt` says what is wrong with each file of the corpus, `corpus/typical.txt` what is printed for a
dozen of them. What is large, binary or no file at all is made here.
"""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from gpuplan.errors import MAX_PROBLEMS, Problem, SpecError, UserError
from gpuplan.spec import load
from gpuplan.spec.read import MAX_BYTES

CORPUS = Path(__file__).parent / "corpus"
NOTES = {"expected.txt", "typical.txt"}
LONGEST_LINE = 1000


class Mistake(NamedTuple):
    """Where a mistake stands (column 0: wherever the parser puts it) and a part of what is said of it."""

    line: int
    column: int
    fragment: str


class Made(NamedTuple):
    """A malformed text that is too large or too binary for a file in the repository."""

    text: bytes
    first: Mistake
    problems: int = 1


def expected() -> dict[str, list[Mistake]]:
    found: dict[str, list[Mistake]] = {}
    for row in (CORPUS / "expected.txt").read_text("utf-8").split("\n"):
        if row and not row.startswith("#"):
            name, place, fragment = row.split(" | ", maxsplit=2)
            line, _, column = place.partition(":")
            found.setdefault(name, []).append(Mistake(int(line), int(column or 0), fragment))
    return found


def spec(text: str) -> bytes:
    return f"name: sweep\ncommand: python train.py\n{text}".encode()


def json_spec(text: str) -> bytes:
    return f'{{"name": "sweep", "command": "python",\n{text}}}'.encode()


def toml_spec(text: str) -> bytes:
    return f'name = "sweep"\ncommand = "python"\n{text}'.encode()


TOO_LARGE = Mistake(1, 1, "more than 131,072 bytes")
TOO_DEEP = Mistake(1, 0, "nested deeper than 40 levels")
TOO_MANY = "more than 20,000 values"
BEYOND = "a whole number beyond 64 bits"
NO_UTF_8 = "not UTF-8 at byte"
DIGITS = "9" * 100_000

MADE: dict[str, Made] = {
    # too large
    "ten-megabytes.yaml": Made(b"name: " + b"a" * 10_000_000, TOO_LARGE),
    "ten-megabytes-of-lines.toml": Made(b"# x\n" * 2_500_000, TOO_LARGE),
    "ten-megabytes.json": Made(b'{"name": "' + b"a" * 10_000_000 + b'"}', TOO_LARGE),
    "values.yaml": Made(spec(f"seeds: [{'1,' * 60_000}]"), Mistake(3, 0, TOO_MANY)),
    "keys.yaml": Made(b"".join(b"k%d: 1\n" % key for key in range(11_000)), Mistake(10_000, 0, TOO_MANY)),
    "aliases.yaml": Made(spec(f"settings: &s {{lr: 1}}\npoints: [{'*s,' * 12_000}]"), Mistake(3, 11, TOO_MANY)),
    "wide-alias.yaml": Made(
        spec(f"vary: {{lr: &v [{'1,' * 500}], a: {{}}}}\nzip: [{'*v,' * 500}]"), Mistake(3, 0, TOO_MANY)
    ),
    "unknown-keys.json": Made(
        json_spec(", ".join(f'"k{key}": 1' for key in range(8000))), Mistake(2, 1, "k0: unknown key"), MAX_PROBLEMS
    ),
    "bad-items.json": Made(
        json_spec(f'"seeds": [{"[], " * 20_000}1]'), Mistake(2, 11, "seeds.0: a whole number"), MAX_PROBLEMS
    ),
    "same-seeds.json": Made(json_spec(f'"seeds": [{"1," * 60_000}1]'), Mistake(2, 13, "stands twice"), MAX_PROBLEMS),
    "same-controls.json": Made(
        json_spec('"controls": [' + ",".join(['{"name":"a"}'] * 9000) + "]"),
        Mistake(2, 28, "controls.1.name: a stands twice"),
        MAX_PROBLEMS,
    ),
    "astronomic.json": Made(
        json_spec('"vary": {' + ",".join(f'"a{axis}":[0,1,2,3,4,5,6,7]' for axis in range(4800)) + "}"),
        Mistake(2, 1, "more than 1,000,000,000,000,000 runs; at most 100,000"),
    ),
    # too deep
    "deep.yaml": Made(b"[" * 100_000, TOO_DEEP),
    "deep-mappings.yaml": Made(b"{" * 100_000, TOO_DEEP),
    "deep-dashes.yaml": Made(b"- " * 50_000, TOO_DEEP),
    "deep-keys.yaml": Made(b"? " * 50_000, TOO_DEEP),
    "deep-lines.yaml": Made(b"".join(b" " * level + b"a:\n" for level in range(400)), Mistake(41, 0, "nested deeper")),
    "deep.json": Made(b"[" * 100_000, TOO_DEEP),
    "deep-closed.json": Made(b'{"a":' * 500 + b"1" + b"}" * 500, TOO_DEEP),
    "deep.toml": Made(b"a = " + b"[" * 100_000, TOO_DEEP),
    "deep-tables.toml": Made(b"a = " + b"{a = " * 25_000, TOO_DEEP),
    "dotted.toml": Made(b"a" + b".a" * 60_000 + b" = 1", TOO_DEEP),
    "dotted-table.toml": Made(b"[" + b"a." * 60_000 + b"a]", TOO_DEEP),
    "dotted-quoted.toml": Made(b"'a'" + b' . "a"' * 10_000 + b" = 1", TOO_DEEP),
    # long
    "digits.yaml": Made(spec(f"settings: {{steps: {DIGITS}}}"), Mistake(3, 19, "is no int that a spec can hold")),
    "digits.json": Made(json_spec(f'"settings": {{"steps": {DIGITS}}}'), Mistake(2, 23, BEYOND)),
    "digits.toml": Made(toml_spec(f"[settings]\nsteps = {DIGITS}"), Mistake(4, 9, BEYOND)),
    "hexadecimal.yaml": Made(spec(f"settings: {{steps: 0x{'f' * 100_000}}}"), Mistake(3, 12, BEYOND)),
    "hexadecimal.toml": Made(toml_spec(f"[settings]\nsteps = 0x{'f' * 100_000}"), Mistake(4, 1, BEYOND)),
    "negative.yaml": Made(spec("seeds: [1, -9223372036854775809]"), Mistake(3, 12, "seeds.1: " + BEYOND)),
    "fraction.yaml": Made(
        spec(f"settings: {{lr: {DIGITS}.5}}"), Mistake(3, 12, "settings.lr: a setting cannot be NaN")
    ),
    "exponent.json": Made(
        json_spec(f'"settings": {{"lr": 1e{DIGITS}}}'), Mistake(2, 14, "settings.lr: a setting cannot")
    ),
    "name.yaml": Made(b"command: x\nname: " + b"a" * 100_000, Mistake(2, 1, "name: at most 100 characters")),
    "command.yaml": Made(b"name: a\ncommand: " + b"x" * 100_000, Mistake(2, 1, "command: at most 20000 characters")),
    "key.yaml": Made(spec(f"? {'k' * 100_000}\n: 1"), Mistake(3, 3, "kkk...")),
    "setting-key.json": Made(json_spec(f'"settings": {{"{"k" * 100_000}": 1}}'), Mistake(2, 14, "settings.kkk")),
    "disk.yaml": Made(spec(f"compute: {{disk: {'1' * 100_000} GB}}"), Mistake(3, 11, "compute.disk: ")),
    "disk-no-unit.yaml": Made(spec(f"compute: {{disk: '{'1' * 100_000}!'}}"), Mistake(3, 11, "compute.disk: ")),
    "deadline.yaml": Made(spec(f"limits: {{deadline: '{'1 ' * 50_000}'}}"), Mistake(3, 10, "limits.deadline: ")),
    "deadline-days.yaml": Made(
        spec(f"limits: {{deadline: {'9' * 400}-00:00:00}}"), Mistake(3, 10, "limits.deadline: ")
    ),
    # bytes
    "latin-1.yaml": Made("name: sweep\ncommand: python größe.py".encode("latin-1"), Mistake(2, 19, NO_UTF_8 + " 30")),
    "latin-1.json": Made('{"name": "größe"}'.encode("latin-1"), Mistake(1, 13, NO_UTF_8)),
    "utf-16.yaml": Made("name: sweep".encode("utf-16"), Mistake(1, 1, NO_UTF_8)),
    "utf-16-unmarked.yaml": Made("name: sweep".encode("utf-16-le"), Mistake(1, 2, "the character #x0000")),
    "utf-32.toml": Made("name: sweep".encode("utf-32"), Mistake(1, 1, NO_UTF_8)),
    "surrogate-bytes.yaml": Made(b"name: a\ncommand: \xed\xa0\x80", Mistake(2, 10, NO_UTF_8)),
    "all-bytes.yaml": Made(bytes(range(256)) * 10, Mistake(2, 118, NO_UTF_8)),
    "nul.yaml": Made(b"name: sweep\ncommand: \0python", Mistake(2, 10, "the character #x0000 is not allowed")),
    "nul.json": Made(b'{"name": "a\0b"}', Mistake(1, 0, "not JSON")),
    "nul.toml": Made(b'name = "a\0b"', Mistake(1, 0, "not TOML")),
    "bell.yaml": Made(b"name: sweep\r\ncommand: \x07", Mistake(2, 10, "the character #x0007")),
    "executable.yaml": Made(b"\x7fELF\x02\x01\x01" + b"\0" * 100, Mistake(1, 1, "the character #x007f")),
    "crlf.yaml": Made(b"name: sweep\r\ncommand: python\r\nranks: two\r\n", Mistake(3, 1, "ranks: a whole number")),
    "crlf.json": Made(b'{"name": "a",\r\n"command": "b",\r\n  "ranks": "two"}\r\n', Mistake(3, 3, "ranks: a whole")),
    "crlf.toml": Made(
        b'name = "a"\r\ncommand = """\r\nx = 1\r\n"""\r\nranks = "two"\r\n', Mistake(5, 1, "ranks: a whole number")
    ),
    "cr.yaml": Made(b"name: sweep\rcommand: python\rranks: two\r", Mistake(3, 1, "ranks: a whole number")),
    "bom.yaml": Made(b"\xef\xbb\xbfname: my sweep\ncommand: x", Mistake(1, 1, "'my sweep' is not a name")),
    "bom.json": Made(b'\xef\xbb\xbf{"name": 3, "command": "x"}', Mistake(1, 2, "name: a text")),
    "bom.toml": Made(b'\xef\xbb\xbfname = 3\ncommand = "x"', Mistake(1, 1, "name: a text")),
    "bom-inside.yaml": Made(b"name: sweep\ncommand: x\nseeds: [\xef\xbb\xbfa]", Mistake(3, 0, "")),
    "line-separators.yaml": Made("# \u2028 \x85\nname: a b".encode(), Mistake(2, 1, "'a b' is not a name"), 2),
    "quotes.yaml": Made(b"'" * 100_001, Mistake(1, 0, "not YAML")),
    # nothing
    "empty.yaml": Made(b"", Mistake(1, 1, "name: missing"), 2),
    "empty.json": Made(b"", Mistake(1, 1, "not JSON")),
    "empty.toml": Made(b"", Mistake(1, 1, "name: missing"), 2),
    "spaces.yaml": Made(b" " * 100_000, Mistake(1, 1, "name: missing"), 2),
    "lines.yaml": Made(b"\n" * 100_000, Mistake(1, 1, "name: missing"), 2),
    "tabs.yaml": Made(b"\t" * 1000, Mistake(1, 1, "not YAML")),
    "comments.yaml": Made(b"# nothing\n" * 100, Mistake(1, 1, "name: missing"), 2),
    "only-bom.yaml": Made(b"\xef\xbb\xbf", Mistake(1, 1, "name: missing"), 2),
    "no-ending": Made(b"[", Mistake(1, 0, "not YAML")),
    "SHOUTED.JSON": Made(b"name: x", Mistake(1, 1, "not JSON")),
}


def refusal(path: Path) -> SpecError:
    """How `path` is refused; every line that is printed for it starts with its place and has a bearable length."""
    with pytest.raises(SpecError) as caught:
        load(str(path))
    error = caught.value
    assert error.exit_code == 2
    for problem in error.problems:
        assert f"{path}:{problem.line}:{problem.column}: {problem.message}" in error.message
        assert problem.line >= 1 <= problem.column
    assert max(map(len, error.message.split("\n"))) < LONGEST_LINE
    error.message.encode()
    assert error.message.replace("\n", "").isprintable()
    return error


def check(problem: Problem, mistake: Mistake) -> None:
    assert (problem.line, problem.column if mistake.column else 0) == mistake[:2]
    assert mistake.fragment in problem.message


@pytest.mark.parametrize(("name", "mistakes"), expected().items(), ids=str)
def test_a_malformed_file_is_refused_at_each_mistake(name: str, mistakes: list[Mistake]) -> None:
    problems = refusal(CORPUS / name).problems
    assert [problem.line for problem in problems] == [mistake.line for mistake in mistakes]
    for problem, mistake in zip(problems, mistakes, strict=True):
        check(problem, mistake)


@pytest.mark.parametrize("name", MADE)
def test_a_malformed_text_is_refused_at_its_first_mistake(name: str, tmp_path: Path) -> None:
    made = MADE[name]
    path = tmp_path / name
    path.write_bytes(made.text)
    problems = refusal(path).problems
    assert len(problems) == made.problems
    check(problems[0], made.first)


def test_every_file_of_the_corpus_is_expected() -> None:
    assert {path.name for path in CORPUS.iterdir()} - NOTES == set(expected())
    assert len(expected()) + len(MADE) >= 60


def test_the_text_of_typical_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(CORPUS)
    snapshot = Path("typical.txt").read_text("utf-8")
    names = [line.removeprefix("$ gpuplan check ") for line in snapshot.split("\n") if line.startswith("$ ")]
    printed = [f"$ gpuplan check {name}\n{refusal(Path(name))}\n" for name in names]
    assert "\n".join(printed) == snapshot
    assert len(names) >= 12


# ---------------------------------------------------------------- what is no file, or cannot be read


def unreadable(path: str | Path) -> UserError:
    with pytest.raises(UserError) as caught:
        load(str(path))
    assert caught.value.exit_code == 2
    assert not isinstance(caught.value, SpecError)
    return caught.value


def test_a_pipe_that_nobody_writes_to_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "spec.yaml")
    error = unreadable(tmp_path / "spec.yaml")
    assert error.message == f"{tmp_path}/spec.yaml: not a file"
    assert error.hint == "pipe a spec in with `-`, as in `gpuplan check -`"


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/null", "/dev/tty", "/"])
def test_devices_and_folders_are_no_files(path: str) -> None:
    assert unreadable(path).message == f"{path}: not a file"


def test_a_link_to_a_folder_or_to_itself(tmp_path: Path) -> None:
    (tmp_path / "folder.yaml").symlink_to(tmp_path)
    (tmp_path / "loop.yaml").symlink_to("loop.yaml")
    assert "not a file" in unreadable(tmp_path / "folder.yaml").message
    assert "cannot be read: Too many levels of symbolic links" in unreadable(tmp_path / "loop.yaml").message


def test_a_missing_file_names_those_that_are_there(tmp_path: Path) -> None:
    for name in ("sweep.yaml", "other.toml", "notes.md"):
        (tmp_path / name).touch()
    error = unreadable(tmp_path / "sweeep.yaml")
    assert error.message.endswith("sweeep.yaml: no such file")
    assert error.hint == "there are: other.toml, sweep.yaml"


def test_a_missing_file_in_a_missing_folder(tmp_path: Path) -> None:
    error = unreadable(tmp_path / "no" / "spec.yaml")
    assert (error.message.endswith("no such file"), error.hint) == (True, "gpuplan init writes a spec")


def test_a_file_below_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "cannot be read: Not a directory" in unreadable(tmp_path / "file" / "spec.yaml").message


@pytest.mark.parametrize("path", ["a\0b.yaml", "a" * 300 + ".yaml", "\ud800.yaml", "x\n\x1b[31m.yaml"])
def test_paths_that_no_file_can_have(path: str) -> None:
    message = unreadable(path).message
    assert message.replace("\n", "").isprintable()


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="a file of Linux that opens and cannot be read")
def test_a_file_that_opens_and_cannot_be_read() -> None:
    assert unreadable("/proc/self/mem").message == "/proc/self/mem: cannot be read: Input/output error"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission(tmp_path: Path) -> None:
    path = tmp_path / "spec.yaml"
    path.touch(mode=0o000)
    assert unreadable(path).message == f"{path}: cannot be read: Permission denied"


def test_without_a_path_the_default_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"experiment\.yaml: no such file") as caught:
        load()
    assert caught.value.hint == "gpuplan init writes one"


def test_standard_input_has_a_place_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(spec("ranks: two"))))
    with pytest.raises(SpecError, match="standard input:3:1: ranks: a whole number"):
        load("-")


def test_standard_input_without_an_end_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    with Path("/dev/zero").open() as endless:
        monkeypatch.setattr(sys, "stdin", endless)
        with pytest.raises(SpecError, match=f"more than {MAX_BYTES:,} bytes"):
            load("-")
