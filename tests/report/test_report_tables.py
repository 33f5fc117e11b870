from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from report_cases import all_finished, estimate, finished, quantity, sweep, unsharded

from gpuplan.expand import expand
from gpuplan.model import Experiment
from gpuplan.report import predictions, scaling, tables
from gpuplan.report.groups import all_runs, configurations, label, varied
from gpuplan.report.measures import ordered_metrics
from gpuplan.report.table import Spread, Table, records

if TYPE_CHECKING:
    from collections.abc import Callable

    from gpuplan.model import Run, RunRecord


def by_key(table: Table) -> list[dict[str, Any]]:
    return [dict(row) for row in records(table)]


def scaled_runs(change: Callable[[Run], dict[str, Any]], **changes: Any) -> tuple[scaling.Scaled, ...]:
    experiment = sweep(**changes)
    return scaling.scaled(experiment, all_finished(experiment, change))


# ---------------------------------------------------------------- sharding and scaling


@pytest.mark.parametrize(
    ("one_gpu_s", "four_gpu_s", "apparent", "true"),
    [(19.53, 42.33, "0.46x", "1.85x"), (99.94, 124.95, "0.80x", "3.20x")],
)
def test_the_published_ag_news_runs_are_explained(
    one_gpu_s: float, four_gpu_s: float, apparent: str, true: str
) -> None:
    """Mean seconds an epoch of the public AG News runs, 1 and 4 GPUs; 120,000 rows, no sampler."""

    def change(run: Run) -> dict[str, Any]:
        epoch_s = one_gpu_s if run.ranks == 1 else four_gpu_s
        return {
            "dataset_rows": 120_000,
            "samples_per_epoch_by_rank": (120_000.0,) * run.ranks,
            "epoch_s": epoch_s,
            "samples_per_s": run.ranks * 120_000 / epoch_s,
        }

    found = scaled_runs(change, vary={"ranks": [1, 4]}, controls=[], seeds=[1])
    (sentence,) = scaling.sentences(found)
    assert sentence == (
        "every rank trained on all rows: 4 ranks x 120,000 = 480,000 rows an epoch of a 120,000-row dataset; "
        f"apparent speed-up {apparent}, true throughput scaling {true}; "
        "no sampler divides the rows (DistributedSampler / shard)."
    )


def test_two_ranks_without_a_sampler() -> None:
    found = scaled_runs(unsharded, vary={"ranks": [1, 2]}, controls=[])
    (sentence,) = scaling.sentences(found)
    assert sentence == (
        "every rank trained on all rows: 2 ranks x 6,000 = 12,000 rows an epoch of a 6,000-row dataset; "
        "apparent speed-up 0.80x, true throughput scaling 1.60x; "
        "no sampler divides the rows (DistributedSampler / shard)."
    )
    one, two = by_key(scaling.table(found))
    assert (one["sharding"], two["sharding"]) == (None, "every rank trained on all rows")
    assert (two["apparent_speedup"], two["true_speedup"], two["efficiency"]) == (0.8, 1.6, 0.8)
    assert (two["rows_per_rank_and_epoch"], two["dataset_rows"], two["epoch_s"]) == (6000, 6000, 25.0)


def test_divided_rows_are_nothing_to_talk_about() -> None:
    found = scaled_runs(lambda _: {}, vary={"ranks": [1, 2]}, controls=[])
    assert scaling.sentences(found) == ()
    assert by_key(scaling.table(found))[1]["sharding"] == "sharded"


def test_what_is_not_known_of_the_rows_is_said() -> None:
    found = scaled_runs(lambda _: {"dataset_rows": None}, vary={"ranks": [1, 2]}, controls=[])
    assert scaling.sentences(found) == ()
    assert str(by_key(scaling.table(found))[1]["sharding"]).startswith("unknown: the rows of the data set")


def test_four_ranks_alone_are_judged_without_a_speed_up() -> None:
    found = scaled_runs(unsharded, vary={"size": ["small"]}, ranks=4, controls=[])
    (sentence,) = scaling.sentences(found)
    assert "speed-up" not in sentence
    assert "4 ranks x 6,000 = 24,000 rows" in sentence
    assert scaling.speeds(found) == {}


def test_one_rank_needs_no_scaling_section() -> None:
    assert scaled_runs(lambda _: {}, vary={"size": ["small"]}, controls=[]) == ()


def test_missing_times_leave_the_verdict() -> None:
    nothing = {"epoch_s": None, "samples_per_s": None}
    found = scaled_runs(lambda run: unsharded(run) | nothing, vary={"ranks": [1, 2]}, controls=[])
    assert by_key(scaling.table(found))[1]["true_speedup"] is None
    assert "speed-up" not in scaling.sentences(found)[0]


def test_many_configurations_are_summed_up() -> None:
    def change(run: Run) -> dict[str, Any]:
        rows = 1000 * int(run.settings["rows"])
        return {"dataset_rows": rows, "samples_per_epoch_by_rank": (float(rows),) * run.ranks}

    vary = {"rows": [1, 2, 3, 4, 5], "ranks": [1, 2]}
    found = scaled_runs(change, vary=vary, controls=[], command="python t.py {rows} {seed}")
    assert len(scaling.sentences(found)) == 4
    assert scaling.sentences(found)[-1] == "The same in 2 more cases, listed below."


# ---------------------------------------------------------------- predictions


def test_predictions_are_held_against_what_was_measured() -> None:
    experiment = sweep(vary={}, controls=[])
    done = [
        finished(run, duration_s=duration).model_copy(update={"estimate": estimate(run, duration_s=100.0)})
        for run, duration in zip(expand(experiment), (100.0, 110.0, 200.0), strict=True)
    ]
    found = predictions.predictions(done)
    rows = {row["quantity"]: row for row in by_key(predictions.accuracy(found))}
    assert rows["duration"]["inside"] == 2
    assert rows["duration"]["median_error"] == pytest.approx(10 / 110)
    assert rows["duration"]["median_ratio"] == pytest.approx(1.1)
    assert rows["peak memory"]["sources"] == "closed form"
    worst = by_key(predictions.tables(found)[2])[0]
    assert (worst["error"], worst["inside"]) == (-0.5, False)
    assert "duration off by 9% in the median (2 of 3 inside the 80 % interval)" in predictions.sentence(found)


def test_the_three_kinds_of_memory_are_never_mixed() -> None:
    (run,) = expand(sweep(vary={}, controls=[], seeds=[1]))
    pairs = {one.quantity: one.measured for one in predictions.predictions([finished(run)])}
    assert (pairs["device_bytes"], pairs["reserved_bytes"], pairs["allocated_bytes"]) == (2.1e9, 1.7e9, 1.5e9)
    no_driver = finished(run, peak_device_bytes=None, peak_host_bytes=5_000_000_000)
    assert "device_bytes" not in {one.quantity for one in predictions.predictions([no_driver])}
    on_cpu = finished(
        run, peak_device_bytes=None, peak_reserved_bytes=None, peak_allocated_bytes=None, peak_host_bytes=5_000_000_000
    )
    assert {one.quantity: one.measured for one in predictions.predictions([on_cpu])}["device_bytes"] == 5e9


def test_without_predictions_nothing_is_said() -> None:
    experiment = sweep()
    bare = [record.model_copy(update={"estimate": None}) for record in all_finished(experiment)]
    assert predictions.predictions(bare) == ()
    assert predictions.sentence(()) == ""
    assert predictions.tables(()) == ()
    assert predictions.accuracy(()).rows == ()


def test_a_prediction_of_nothing_cannot_be_judged() -> None:
    (run,) = expand(sweep(vary={}, controls=[], seeds=[1]))
    empty = estimate(run).model_copy(update={"duration_s": quantity(0.0)})
    record = finished(run).model_copy(update={"estimate": empty})
    assert "duration_s" not in {one.quantity for one in predictions.predictions([record])}


# ---------------------------------------------------------------- results, failures, provenance, groups


def test_results_are_means_over_seeds() -> None:
    experiment = sweep()
    rows = by_key(tables.results(experiment, all_finished(experiment)))
    assert len(rows) == 5
    first = rows[0]
    assert (first["size"], first["ranks"], first["runs"], first["finished"]) == ("small", 1, 3, 3)
    assert first["final_accuracy"] == pytest.approx(0.864)
    assert first["final_accuracy_sd"] == pytest.approx(0.002)
    assert rows[-1]["control"] == "shuffled"
    assert rows[-1]["final_accuracy_sd"] is None


def test_many_metrics_are_left_to_the_csv() -> None:
    experiment = sweep()
    found = all_finished(experiment, lambda _: {"final": {f"m{n}": 1.0 for n in range(9)}, "best": {}})
    table = tables.results(experiment, found)
    assert len([column for column in table.columns if column.key.startswith("final_")]) == 4
    assert "5 more metrics are in runs.csv" in table.notes[1]
    assert {f"final_m{n}" for n in range(9)} <= set(by_key(tables.runs(experiment, found))[0])


def test_expected_metrics_come_first_and_constant_ones_last() -> None:
    experiment = sweep(expect=["final(f1) >= 0.5", "broken ("], controls=[])
    best = {"loss": 1.0}
    found = all_finished(
        experiment, lambda run: {"final": {"epochs": 3.0, "note": run.seed, "loss": run.seed, "f1": 0.5}, "best": best}
    )
    assert ordered_metrics(experiment, found) == ("f1", "loss", "note", "epochs")


def test_marginals_average_over_all_else() -> None:
    experiment = sweep()
    rows = by_key(tables.marginals(experiment, all_finished(experiment)))
    assert [(row["setting"], row["value"], row["finished"]) for row in rows] == [
        ("size", "small", 6), ("size", "large", 6), ("ranks", 1, 6), ("ranks", 2, 6),
    ]  # fmt: skip
    assert rows[1]["final_accuracy"] == pytest.approx(0.894)


def test_device_memory_and_host_memory_have_their_own_columns() -> None:
    experiment = sweep()
    on_gpu = tables.results(experiment, all_finished(experiment))
    assert "peak_device_bytes" in [column.key for column in on_gpu.columns]
    on_cpu = all_finished(experiment, lambda _: {"peak_device_bytes": None, "peak_host_bytes": 10**9})
    keys = [column.key for column in tables.results(experiment, on_cpu).columns]
    assert "peak_host_bytes" in keys
    assert "peak_device_bytes" not in keys


def test_provenance_counts_what_differs() -> None:
    experiment = sweep(controls=[], seeds=[1])
    found = all_finished(experiment)
    other = found[0].provenance
    assert other is not None
    found[0] = found[0].model_copy(update={"provenance": other.model_copy(update={"commit": "fff0000", "dirty": True})})
    table = tables.provenance(found)
    assert ("commit", "ab2efc3", 3) in table.rows
    assert ("commit", "fff0000", 1) in table.rows
    assert table.notes == ("The runs differ in: commit, uncommitted changes.",)


def test_what_varies_is_found_in_the_spec_and_in_the_runs() -> None:
    experiment = sweep()
    found = all_runs(experiment, [])
    assert varied(experiment, found) == ("size", "ranks")
    staged = Experiment.model_validate({"name": "x", "stages": [{"name": "a", "repeats": 2}, {"name": "b"}]})
    waves = all_runs(staged, [])
    assert varied(staged, waves) == ("stage",)
    assert [len(group.records) for group in configurations(("stage",), waves)] == [2, 1]
    grown = [*all_finished(sweep(vary={"size": ["small"]}, controls=[])), *all_finished(sweep(controls=[]))]
    assert varied(sweep(vary={"size": ["small"]}), grown) == ("size", "ranks")


def test_values_of_two_types_are_told_apart() -> None:
    experiment = Experiment.model_validate({"name": "x", "vary": {"flag": [True, 1, 1.5]}})
    groups = configurations(("flag",), all_runs(experiment, []))
    assert [group.label for group in groups] == ["flag=true", "flag=1", "flag=1.5"]
    assert label({}) == "all runs"


def test_a_spread_of_one_value_has_no_deviation() -> None:
    experiment = sweep(vary={}, controls=[], seeds=[1])
    done: list[RunRecord] = all_finished(experiment)
    assert Spread(0.862, None, 1) in tables.results(experiment, done).rows[0]
