from __future__ import annotations

import pytest

from gpuplan.errors import MAX_PROBLEMS, DriftError, GpuplanError, MissingError, Problem, SpecError, UserError


@pytest.mark.parametrize(("kind", "exit_code"), [(GpuplanError, 1), (UserError, 2), (DriftError, 3), (MissingError, 5)])
def test_each_kind_has_its_exit_code(kind: type[GpuplanError], exit_code: int) -> None:
    assert kind("what happened").exit_code == exit_code
    assert kind("what happened", exit_code=4).exit_code == 4
    assert issubclass(kind, GpuplanError)


def test_a_message_and_what_to_do_next() -> None:
    error = UserError("x.yaml: no such file", hint="gpuplan init writes one")
    assert (str(error), error.message, error.hint) == ("x.yaml: no such file", error.message, "gpuplan init writes one")


def test_a_problem_shows_its_line_and_a_caret() -> None:
    problem = Problem("ranks: wrong", path="e.yaml", line=3, column=5, text="a: {ranks: x}", hint="mend it")
    assert str(problem).split("\n") == ["e.yaml:3:5: ranks: wrong", "    a: {ranks: x}", "        ^", "    mend it"]


def test_a_problem_without_a_line() -> None:
    assert str(Problem("empty", path="e.yaml")) == "e.yaml:1:1: empty"


def test_nothing_reaches_the_terminal_that_it_would_act_on() -> None:
    problem = Problem("\x1b[31mred\nname\x00\ud800\u202e", path="e.yaml")
    assert problem.message == "\\x1b[31mred\\nname\\x00\\ud800\\u202e"
    error = UserError("a\nb\x07", hint="\x9b0m")
    assert error.message == "a\nb\\x07"
    assert error.hint == "\\x9b0m"
    assert str(SpecError([Problem("wrong", path="\udcff.yaml")])).encode() == b"\\udcff.yaml:1:1: wrong"


def test_other_languages_stay_readable() -> None:
    assert Problem("größe: 大きい", path="e.yaml").message == "größe: 大きい"


def test_a_very_long_message_is_cut() -> None:
    problem = Problem("k" * 100_000, path="e.yaml")
    assert len(problem.message) < 500
    assert problem.message.endswith("k...")


def test_all_problems_are_told_in_the_order_of_the_file() -> None:
    error = SpecError([Problem(f"at {line}", path="e.yaml", line=line) for line in (7, 2, 5)])
    assert [problem.line for problem in error.problems] == [2, 5, 7]
    assert str(error) == "e.yaml:2:1: at 2\ne.yaml:5:1: at 5\ne.yaml:7:1: at 7"
    assert error.exit_code == 2


def test_of_very_many_problems_the_first_are_told() -> None:
    error = SpecError([Problem("wrong", path="e.yaml", line=line + 1) for line in range(MAX_PROBLEMS + 1)])
    assert len(error.problems) == MAX_PROBLEMS
    assert str(error).endswith(f"e.yaml:{MAX_PROBLEMS}:1: wrong\nand more like these")
    assert "more like" not in str(SpecError(error.problems))
