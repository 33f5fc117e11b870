from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from report_cases import all_finished, ended, finished, measurement, sweep, unended

from gpuplan.errors import SpecError
from gpuplan.expand import expand
from gpuplan.report.expect import Check, check, evaluate
from gpuplan.report.grammar import parse

if TYPE_CHECKING:
    from gpuplan.model import Run, RunRecord

GOOD = [
    "speedup(ranks=4) >= 2.5",
    "final(accuracy) >= 0.88",
    "final(accuracy, size=small) >= 0.7",
    "final(accuracy, control=shuffled) <= 0.3",
    "abs(final(accuracy, ranks=2) - final(accuracy, ranks=1)) <= 0.03",
    "efficiency(ranks=2) >= 0.6",
    "best(val_loss) <= 0.5",
    "duration() <= 300",
    "peak_memory() <= 2e9",
    'duration(ranks=2) <= "5 min"',
    'peak_memory(size="large") < "8 GiB"',
    "0.2 <= final(accuracy) <= 0.3",
    'final("eval/loss") > -1.5',
    "2 * duration(ranks=2) < duration(ranks=1) + 10",
    "final(accuracy) / final(accuracy, control=shuffled) >= 2",
    "final(accuracy, lr=-1, flag=true, seed=3) >= 0",
    "  final(\n accuracy) >= 0.5 ",
    "-final(loss) >= -0.5",
    "step_time() <= 0.1",
    "throughput(copies=8) > 1e3",
    "peak_allocated() <= peak_reserved()",
]

BAD = {
    "": "cannot be read",
    "accuracy >= 0.8": "accuracy alone is not a figure",
    "final(accuracy)": "no comparison",
    "final(accuracy) = 3": "cannot be read",
    "final(accuracy) == 3": "compared with <, <=, > or >= only",
    "final(accuracy) != 3": "compared with <, <=, > or >= only",
    "final(accuracy) in 3": "compared with <, <=, > or >= only",
    "final(accuracy) => 3": "=> is not known here",
    "final(accuracy) \u2265 3": "\u2265 is not known here",
    "final(a) >= 1 and final(b) >= 2": "`and` and `or`",
    "3 <= 4": "constants only",
    "final() >= 1": "final takes one metric",
    "final(a, b) >= 1": "final takes one metric",
    "duration(3) <= 3": "duration takes filters only",
    "final(eval/loss) >= 1": "eval/loss is not the name of a metric",
    "finl(a) >= 1": "unknown function finl",
    "speedup() >= 2": "speedup needs the number of ranks",
    "speedup(ranks=1) >= 2": "a whole number from 2",
    "speedup(ranks=two) >= 2": "a whole number from 2",
    "efficiency(ranks=2.5) >= 2": "a whole number from 2",
    'duration() <= "5 parsecs"': "neither a time nor a size",
    'duration() <= "5 GB"': "seconds with bytes cannot be compared",
    "duration() + peak_memory() >= 1": "seconds with bytes cannot be compared",
    "duration() >= speedup(ranks=2)": "cannot be compared",
    "final(a, mode=static_0.5) >= 1": "cannot be read",
    "final(a, x=1, x=2) >= 1": "x stands there twice",
    "final(a, **b) >= 1": "** is not known here",
    "final(a, x=None) >= 1": "None is not a number",
    "final(a, x=[1]) >= 1": "is not a value of x",
    "final(a, x=b()) >= 1": "is not a value of x",
    "final(a) ** 2 >= 1": "only +, -, * and /",
    "final(a) % 2 >= 1": "only +, -, * and /",
    "final(a) >= 1e999": "too large",
    f"final(a) >= {'9' * 400}": "too large",
    "final(a) >= 1j": "is not a number",
    "True <= final(a)": "is not a number",
    "final(a) >= b'x'": "is not a number",
    "final(a).b >= 1": "is not known here",
    "[final(a)] >= 1": "is not known here",
    "(lambda: 1)() >= 1": "is not known here",
    "(x := 3) >= final(a)": "is not known here",
    "__import__('os').system('true') >= 1": "is not known here",
    "open('/etc/passwd') >= 1": "unknown function open",
    "final(a) >= 1; import os": "cannot be read",
    "final(a)\x00 >= 1": "cannot be read",
    "f'{final(a)}' >= 1": "is not known here",
    "min(final(a), 3) >= 1": "unknown function min",
    "abs() >= 1": "unknown function abs",
    "final(a) if 1 else 2": "no comparison",
    "(" * 90 + "final(a)" + ")" * 90 + ">= " + "(" * 250 + "1" + ")" * 250: "longer than 500 characters",
    "not final(a) >= 1": "no comparison",
    "~final(a) >= 1": "is not known here",
}


@pytest.mark.parametrize("text", GOOD)
def test_good_lines_parse(text: str) -> None:
    assert parse(text).calls()


@pytest.mark.parametrize(("text", "message"), BAD.items())
def test_bad_lines_name_the_column_and_the_reason(text: str, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse(text)
    (problem,) = caught.value.problems
    assert message in problem.message
    assert 1 <= problem.column <= len(text) + 1
    assert caught.value.exit_code == 2


def test_a_bad_line_is_pointed_at_with_what_is_known() -> None:
    with pytest.raises(SpecError) as caught:
        parse("1 <= fnal(accuracy)", path="experiment.yaml", line=7)
    assert str(caught.value).splitlines()[:3] == [
        "experiment.yaml:7:6: unknown function fnal",
        "    1 <= fnal(accuracy)",
        "         ^",
    ]
    assert "did you mean final?" in str(caught.value)


def test_columns_count_characters_not_bytes() -> None:
    with pytest.raises(SpecError) as caught:
        parse('final("\u00e9\u00e9\u00e9") >= fnal(a)')
    assert caught.value.problems[0].column == len('final("\u00e9\u00e9\u00e9") >= ') + 1


def test_deep_nesting_is_no_crash() -> None:
    with pytest.raises(SpecError):
        parse("-" * 450 + "1 >= 1")
    with pytest.raises(SpecError):
        parse("(" * 220 + "1" + ")" * 220 + " >= 1")


def test_check_finds_unknown_settings_and_filters_that_no_run_meets() -> None:
    experiment = sweep(
        expect=["final(accuracy, sise=small) >= 0", "speedup(ranks=4) >= 2", "final(a, control=shufled) <= 1", "1 <"]
    )
    first, second, third, fourth = check(experiment, path="e.yaml", lines=[20, 21, 22])
    assert first.message == "unknown setting sise"
    assert "did you mean size?" in str(first)
    assert (first.line, first.column) == (20, 17)
    assert second.message == "no run of this experiment has ranks=4"
    assert second.hint == "there is ranks: 1, 2"
    assert third.hint == "there is control: shuffled"
    assert fourth.line == 4
    assert check(sweep(expect=GOOD[2:6])) == ()


# ---------------------------------------------------------------- judged


def judge(text: str, records: list[RunRecord] | None = None, **changes: Any) -> Check:
    experiment = sweep(expect=[text], **changes)
    (result,) = evaluate(experiment, all_finished(experiment) if records is None else records)
    return result


def test_the_worst_configuration_is_shown() -> None:
    passed = judge("final(accuracy) >= 0.8")
    assert (passed.status, passed.where) == ("pass", "size=small, ranks=1")
    assert passed.value == pytest.approx(0.864)
    failed = judge("final(accuracy) >= 0.88")
    assert failed.status == "fail"
    assert failed.because == "0.864 >= 0.88 is not so at size=small, ranks=1; 2 of 4 configurations miss it"
    assert judge("final(accuracy, size=large) >= 0.88").status == "pass"
    assert judge("final(accuracy) <= 0.88").where.startswith("size=large")


def test_controls_count_only_when_asked_for() -> None:
    assert judge("final(accuracy) >= 0.5").status == "pass"
    control = judge("final(accuracy, control=shuffled) <= 0.3")
    assert (control.status, control.value) == ("pass", 0.26)
    assert judge("final(accuracy) - final(accuracy, control=shuffled) >= 0.6").status == "pass"


def test_arithmetic_joins_on_what_is_left() -> None:
    same = judge("abs(final(accuracy, ranks=2) - final(accuracy, ranks=1)) <= 0.001")
    assert (same.status, same.value) == ("pass", 0.0)
    gain = judge("final(accuracy, size=large) - final(accuracy, size=small) >= 0.03")
    assert gain.status == "pass"
    assert gain.where in {"ranks=1", "ranks=2"}


def test_the_last_binary_digit_decides_nothing() -> None:
    def change(run: Run) -> dict[str, Any]:
        return {"final": {"accuracy": 0.91 if run.ranks == 2 else 0.88}}

    experiment = sweep(expect=["final(accuracy, ranks=2) - final(accuracy, ranks=1) <= 0.03", "final(accuracy) > 0.88"])
    close, strict = evaluate(experiment, all_finished(experiment, change))
    assert close.status == "pass"
    assert strict.status == "fail"


def test_a_chain_needs_both_ends() -> None:
    assert judge("0.8 <= final(accuracy) <= 0.9").status == "pass"
    assert judge("0.8 <= final(accuracy) <= 0.87").status == "fail"
    assert judge("0.87 <= final(accuracy) <= 0.9").status == "fail"


def test_units_are_read_and_shown() -> None:
    late = judge('duration(ranks=1) <= "1 min"')
    assert (late.status, late.unit, late.value) == ("fail", "s", 105.0)
    assert "1m45s <= 1m00s is not so" in late.because
    assert judge('peak_memory() <= "2 GiB"').status == "pass"
    assert judge("peak_reserved() - peak_allocated() <= 2e8").status == "pass"


def test_speedup_is_the_throughput_of_all_ranks() -> None:
    experiment = sweep(
        expect=["speedup(ranks=2) >= 1.5", "efficiency(ranks=2) <= 0.85", "speedup(ranks=2, size=large) <= 1.7"]
    )
    records = all_finished(experiment, lambda run: {"samples_per_s": 300 if run.ranks == 1 else 480, "epoch_s": 25})
    speedup, efficiency, large = evaluate(experiment, records)
    assert (speedup.status, speedup.value) == ("pass", 1.6)
    assert (efficiency.status, efficiency.value) == ("pass", 0.8)
    assert large.status == "pass"


def test_speedup_follows_a_batch_that_is_zipped_with_the_ranks() -> None:
    experiment = sweep(
        vary={"size": ["small"]}, zip={"ranks": [1, 4], "batch_size": [32, 128]}, expect=["speedup(ranks=4) >= 3"]
    )
    (result,) = evaluate(experiment, all_finished(experiment))
    assert (result.status, result.value) == ("pass", 4.0)


def test_speedup_without_fewer_ranks_is_unknown() -> None:
    result = judge("speedup(ranks=4) >= 3", vary={"size": ["small"]}, ranks=4)
    assert result.status == "unknown"
    assert "no run at fewer than 4 ranks" in result.because


def test_what_is_still_running_is_unknown_and_says_so_far() -> None:
    experiment = sweep(expect=["final(accuracy) >= 0.8"])
    records = all_finished(experiment)
    records[0] = unended(records[0].run)
    (result,) = evaluate(experiment, records)
    assert result.status == "unknown"
    assert result.because == "1 of 3 runs at size=small, ranks=1 not ended (so far 0.865)"


def test_runs_without_a_record_have_not_ended() -> None:
    result = judge("final(accuracy) >= 0.8", [])
    assert result.status == "unknown"
    assert "3 of 3 runs at size=small, ranks=1 not ended" in result.because
    assert "1 more reasons" in result.because


def test_a_configuration_that_misses_fails_even_while_others_run() -> None:
    experiment = sweep(expect=["final(accuracy) >= 0.88"])
    records = [unended(one.run) if one.run.settings["size"] == "large" else one for one in all_finished(experiment)]
    (result,) = evaluate(experiment, records)
    assert result.status == "fail"


def test_failed_seeds_are_left_out_and_named() -> None:
    experiment = sweep(expect=["final(accuracy, ranks=1, size=small) >= 0.8"])
    records = all_finished(experiment)
    records[0] = ended(records[0].run, "oom_device")
    (result,) = evaluate(experiment, records)
    assert result.status == "pass"
    assert "1 of 3 runs did not finish" in result.because
    crashed = [ended(one.run, "oom_device") for one in records]
    (none,) = evaluate(experiment, crashed)
    assert (none.status, none.because) == ("unknown", "no run finished: out of GPU memory")


def test_a_metric_nobody_recorded() -> None:
    result = judge("final(acuracy) >= 0.8")
    assert result.status == "unknown"
    assert result.because == "no run recorded acuracy: did you mean accuracy? known: accuracy, val_loss"


def test_a_figure_that_was_not_measured() -> None:
    experiment = sweep(expect=["peak_memory() <= 2e9", "speedup(ranks=2) >= 1", "duration() <= 5"])
    nothing = {"peak_device_bytes": None, "samples_per_s": None, "duration_s": None}
    results = evaluate(experiment, all_finished(experiment, lambda _: nothing))
    assert [one.because for one in results] == [
        "no peak device memory was measured",
        "no samples per second was measured",
        "no duration was measured",
    ]


def test_nan_is_no_figure() -> None:
    experiment = sweep(expect=["final(accuracy) >= 0"], vary={}, seeds=[1], controls=[])
    (run,) = expand(experiment)
    broken = measurement(run).model_copy(update={"final": {"accuracy": float("nan")}})
    (result,) = evaluate(experiment, [finished(run).model_copy(update={"measurement": broken})])
    assert result.status == "unknown"


def test_division_by_zero_is_unknown() -> None:
    experiment = sweep(expect=["1 / final(accuracy) >= 0"])
    (result,) = evaluate(experiment, all_finished(experiment, lambda _: {"final": {"accuracy": 0.0}}))
    assert (result.status, result.because.partition(" at ")[0]) == ("unknown", "division by zero")


def test_a_missing_partner_is_said() -> None:
    experiment = sweep(
        vary={}, points=[{"size": "small", "ranks": 1}, {"size": "large", "ranks": 1}, {"size": "large", "ranks": 2}],
        expect=["final(accuracy, ranks=2) - final(accuracy, ranks=1) >= -1"],
    )  # fmt: skip
    (result,) = evaluate(experiment, all_finished(experiment))
    assert (result.status, result.because) == ("unknown", "nothing to compare with at size=small")


def test_no_such_run_and_a_broken_line() -> None:
    assert judge("final(accuracy, ranks=8) >= 0").because == "no run has ranks=8"
    broken = judge("final(accuracy >= 0")
    assert broken.status == "unknown"
    assert broken.because.startswith("column ")


def test_true_and_one_are_two_values() -> None:
    experiment = sweep(
        vary={"flag": [True, 1]}, controls=[], seeds=[1], expect=["final(a, flag=true) >= 1", "final(a, flag=1) >= 1"]
    )
    records = all_finished(experiment, lambda run: {"final": {"a": 2.0 if run.settings["flag"] is True else 0.0}})
    assert [one.status for one in evaluate(experiment, records)] == ["pass", "fail"]
