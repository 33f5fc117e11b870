"""Evidence, sharding, scaling and back-tests, against the public numbers of a run whose sampler was never used."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpuplan.data import find_gpu, gpus
from gpuplan.learn import (
    Pair,
    Told,
    anonymous,
    backtest,
    completed,
    evidence_of,
    evidence_of_log,
    refusal,
    refusal_of_log,
    residual,
    scaling,
    sharding,
)
from gpuplan.learn.facts import ranks_in_name
from gpuplan.learn.replay import judged, replay
from gpuplan.model import (
    Evidence,
    LoggedRun,
    Machine,
    Measurement,
    Outcome,
    Provenance,
    Quantity,
    Run,
    RunRecord,
    World,
)

AG_NEWS_ROWS = 120_000


def epochs(world_size: int, epoch_s: float, rows_by_rank: float) -> Measurement:
    """What `epoch_s` seconds an epoch come to with `rows_by_rank` rows on each rank."""
    return Measurement(
        world_size=world_size,
        dataset_rows=AG_NEWS_ROWS,
        batch_size=32 * world_size,
        epoch_s=epoch_s,
        samples_per_epoch_by_rank=(rows_by_rank,) * world_size,
        samples_per_s=world_size * rows_by_rank / epoch_s,
    )


def quantity(p10: float, p50: float, p90: float) -> Quantity:
    return Quantity(p10=p10, p50=p50, p90=p90, source="traced", because="a test")


def record(*, status: str = "finished", flags: tuple[str, ...] = (), **changes: Any) -> RunRecord:
    run = Run(name="lr-1", key="k1", settings={"lr": 0.1}, point={"lr": 0.1}, command="python train.py")
    return RunRecord.model_validate(
        {
            "experiment": "sweep",
            "run": run,
            "folder": "runs/lr-1",
            "state": status,
            "outcome": Outcome.model_validate({"status": status, "because": "", "advice": ""}),
            "measurement": Measurement(step_s=0.1, steps=100, flags=flags),
            "provenance": Provenance(argv=("python",), workdir=".", versions={"torch": "2.13.0"}),
            **changes,
        }
    )


# ---------------------------------------------------------------- sharding and scaling


def test_the_small_model_looks_slower_and_is_faster() -> None:
    one, four = epochs(1, 19.53, 120_000), epochs(4, 42.33, 120_000)
    found = scaling(one, four)
    assert found.apparent == pytest.approx(0.46, abs=0.005)
    assert found.true == pytest.approx(1.85, abs=0.005)
    assert found.apparent_efficiency == pytest.approx(0.115, abs=0.001)
    assert found.true_efficiency == pytest.approx(0.46, abs=0.005)
    assert found.ranks_ratio == 4


def test_the_large_model_looks_slower_and_is_faster() -> None:
    found = scaling(epochs(1, 99.94, 120_000), epochs(4, 124.95, 120_000))
    assert found.apparent == pytest.approx(0.80, abs=0.005)
    assert found.true == pytest.approx(3.20, abs=0.005)


def test_what_the_seeds_sharded_run_gained() -> None:
    found = scaling(epochs(1, 11.20, 25_000), epochs(4, 3.21, 6_250))
    assert found.apparent == pytest.approx(3.49, abs=0.005)
    assert found.true == pytest.approx(found.apparent)


def test_the_diagnosis_of_the_missing_sampler() -> None:
    found = sharding(epochs(4, 42.33, 120_000))
    assert found.verdict == "every rank trained on all rows"
    assert found.factor == 4
    assert found.rows_per_epoch_all_ranks == 480_000
    assert found.because == "4 ranks trained on 480k rows an epoch, of 120k there are"


@pytest.mark.parametrize("rows", [30_000, 29_984, 30_016, 28_600])
def test_ranks_that_divide_the_rows(rows: float) -> None:
    assert sharding(epochs(4, 12.0, rows)).verdict == "sharded"


@pytest.mark.parametrize(
    ("rows", "verdict"), [(1000, "every rank trained on all rows"), (992, "every rank trained on all rows"),
                          (500, "sharded"), (480, "sharded"), (700, "unknown"), (0, "unknown")]
)  # fmt: skip
def test_small_data_with_a_dropped_last_batch(rows: float, verdict: str) -> None:
    measurement = Measurement(world_size=2, dataset_rows=1000, batch_size=64, samples_per_epoch_by_rank=(rows, rows))
    assert sharding(measurement).verdict == verdict


def test_one_odd_rank_makes_it_unknown() -> None:
    measurement = Measurement(world_size=2, dataset_rows=1000, samples_per_epoch_by_rank=(1000, 500))
    assert sharding(measurement).verdict == "unknown"


@pytest.mark.parametrize(
    ("measurement", "because"),
    [
        (Measurement(world_size=1, dataset_rows=10, samples_per_epoch_by_rank=(10,)), "one rank"),
        (Measurement(world_size=2, dataset_rows=10), "rows of each rank"),
        (Measurement(world_size=2, samples_per_epoch_by_rank=(5, 5)), "rows of the data set"),
        (Measurement(world_size=2, dataset_rows=10, samples_per_epoch_by_rank=(5,)), "rows of each rank"),
    ],
)
def test_what_is_not_known_is_unknown(measurement: Measurement, because: str) -> None:
    found = sharding(measurement)
    assert found.verdict == "unknown"
    assert because in found.because


def test_scaling_of_what_was_not_measured_is_none() -> None:
    found = scaling(Measurement(world_size=1, epoch_s=1.0), Measurement(world_size=2, samples_per_s=3.0))
    assert found == (2.0, None, None, None, None)


# ---------------------------------------------------------------- evidence


def test_a_finished_run_is_evidence() -> None:
    fact = evidence_of(record(), gpu="RTX 4090", threads=2, today="2026-11-20")
    assert fact is not None
    assert (fact.gpu, fact.threads, fact.taken, fact.kind, fact.log) == (
        "RTX 4090",
        2,
        "2026-11-20",
        "run",
        "runs/lr-1",
    )
    assert fact.settings == {"lr": 0.1}
    assert fact.versions == {"torch": "2.13.0"}
    assert len(fact.id) == 16


def test_the_same_run_learned_twice_is_one_fact() -> None:
    first = evidence_of(record(), gpu="RTX 4090", threads=2, today="2026-11-20")
    later = evidence_of(record(folder="moved/lr-1"), gpu="RTX 4090", threads=2, today="2026-12-24")
    assert first is not None
    assert later is not None
    assert first.id == later.id


def test_a_probe_is_a_fact_of_its_own() -> None:
    run = evidence_of(record(), gpu="RTX 4090", threads=2, today="2026-11-20")
    probe = evidence_of(record(), gpu="RTX 4090", threads=2, today="2026-11-20", kind="probe")
    assert run is not None
    assert probe is not None
    assert probe.kind == "probe"
    assert probe.id != run.id


@pytest.mark.parametrize(
    "other",
    [
        {"measurement": Measurement(step_s=0.2, steps=100)},
        {"provenance": Provenance(argv=("python",), workdir=".", versions={"torch": "2.4.0"})},
        {"run": Run(name="lr-1", key="k2", settings={"lr": 0.1}, point={}, command="python train.py")},
    ],
)
def test_another_run_is_another_fact(other: dict[str, Any]) -> None:
    first = evidence_of(record(), gpu="RTX 4090", threads=2, today="2026-11-20")
    changed = evidence_of(record(**other), gpu="RTX 4090", threads=2, today="2026-11-20")
    assert first is not None
    assert changed is not None
    assert first.id != changed.id


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"status": "oom_device"}, "it did not finish: oom device"),
        ({"status": "diverged"}, "it did not finish: diverged"),
        ({"outcome": None, "state": "running"}, "it did not finish: running"),
        ({"measurement": None}, "nothing was measured"),
        ({"measurement": Measurement(steps=3)}, "nothing was measured"),
        ({"flags": ("the clock jumped backwards",)}, "its figures are doubtful: the clock jumped backwards"),
    ],
)
def test_other_runs_are_refused_with_a_reason(changed: dict[str, Any], reason: str) -> None:
    refused = record(**changed)
    assert (refusal(refused) or "").startswith(reason)
    assert evidence_of(refused, gpu="RTX 4090", threads=1, today="2026-11-20") is None


def test_peak_memory_alone_is_evidence() -> None:
    assert refusal(record(measurement=Measurement(peak_tree_bytes=10**9))) is None


# ---------------------------------------------------------------- residuals and back-tests


def test_a_residual() -> None:
    assert residual(quantity(8, 10, 12), 8.0) == (0.8, 25.0, True)
    assert residual(quantity(8, 10, 12), 20.0) == (2.0, -50.0, False)


@pytest.mark.parametrize(("predicted", "measured"), [(0.0, 1.0), (1.0, 0.0), (1.0, -1.0), (-1.0, 1.0)])
def test_no_residual_without_figures_above_zero(predicted: float, measured: float) -> None:
    assert residual(quantity(predicted, predicted, predicted), measured) is None


def test_a_back_test() -> None:
    pairs = [Pair(quantity(8, 10, 12), measured) for measured in (10.0, 8.0, 12.5, 5.0)]
    found = backtest([*pairs, Pair(quantity(0, 0, 0), 1.0)])
    assert found is not None
    assert found.pairs == 4
    assert found.median_abs_percent == pytest.approx(22.5)
    assert found.mean_abs_percent == pytest.approx((0 + 25 + 20 + 100) / 4)
    assert found.coverage == 0.5
    assert found.median_ratio == pytest.approx(0.9)


def test_nothing_to_test() -> None:
    assert backtest([]) is None


@given(st.lists(st.tuples(st.floats(0.001, 1e6), st.floats(0.001, 1e6)), min_size=1, max_size=20))
@settings(deadline=None)
def test_a_back_test_is_of_sound_shape(figures: list[tuple[float, float]]) -> None:
    found = backtest(Pair(quantity(p50 / 2, p50, p50 * 2), measured) for p50, measured in figures)
    assert found is not None
    assert found.pairs == len(figures)
    assert 0 <= found.coverage <= 1
    assert found.median_abs_percent >= 0
    assert found.median_ratio > 0


# ---------------------------------------------------------------- foreign logs


def logged(name: str = "run-a", **changes: Any) -> LoggedRun:
    return LoggedRun.model_validate(
        {
            "name": name,
            "format": "csv",
            "path": f"logs/{name}/metrics.csv",
            "gpu": "V100",
            "measurement": Measurement(step_s=0.1, steps=100),
            **changes,
        }
    )


V100 = find_gpu("V100")


def learned(log: LoggedRun, told: Told = Told()) -> Evidence:  # noqa: B008  frozen
    fact = evidence_of_log(completed(log, told), experiment=told.experiment, gpu=V100, today="2026-11-20")
    assert fact is not None
    return fact


def test_a_log_is_one_fact_wherever_it_lies_and_whatever_is_said_of_it() -> None:
    first = learned(logged())
    moved = learned(logged(path="elsewhere/metrics.csv"))
    explained = learned(logged(), Told(experiment="other", settings={"batch": 8}, ranks={"*": 4}, dataset_rows=10))
    assert first.id == moved.id == explained.id
    assert explained.settings == {"batch": 8}
    assert explained.ranks == 4
    assert explained.measurement.dataset_rows == 10
    assert learned(logged(measurement=Measurement(step_s=0.2, steps=100))).id != first.id


def test_what_a_log_says_wins_over_what_is_told() -> None:
    log = completed(logged(ranks=2, settings={"lr": 0.1}), Told(ranks={"*": 8}, gpu="T4", settings={"lr": 1.0}))
    assert (log.ranks, log.gpu, log.settings) == (2, "V100", {"lr": 0.1})


@pytest.mark.parametrize(
    ("name", "ranks"),
    [
        ("exp042_agnews_ddp_4gpu_20ep", 4),
        ("exp041_agnews_1gpu_20ep", 1),
        ("exp020_imdb_single_gpu_20ep", 1),
        ("exp021_imdb_ddp_single_node_20ep", None),
        ("8xgpus", 8),
        ("run_0gpu", None),
        ("gpt2", None),
    ],
)
def test_ranks_that_a_name_counts(name: str, ranks: int | None) -> None:
    assert ranks_in_name(name) == ranks
    assert completed(logged(name), Told()).ranks == ranks


def test_the_first_pattern_that_matches_the_path_tells_the_ranks() -> None:
    told = Told(ranks={"*run-a*": 4, "*": 2})
    assert completed(logged("run-a"), told).ranks == 4
    assert completed(logged("run-b"), told).ranks == 2


def test_a_log_that_measured_nothing_or_ran_nowhere_is_refused_with_the_reason() -> None:
    assert "nothing was measured" in str(refusal_of_log(logged(measurement=Measurement()), gpu=V100))
    assert "--gpu" in str(refusal_of_log(logged(gpu=None), gpu=None))
    assert "'XPU 9'" in str(refusal_of_log(logged(gpu="XPU 9"), gpu=None))
    assert evidence_of_log(logged(gpu=None), experiment=None, gpu=None, today="2026-11-20") is None


def test_an_odd_file_name_becomes_a_name_that_a_spec_could_have() -> None:
    assert learned(logged("../über sweep; rm -rf")).experiment == "ber-sweep-rm--rf"
    assert learned(logged("..")).experiment == "log"


def test_anonymous_facts_hold_no_path_command_or_name() -> None:
    told = Told(experiment="secret-sweep", command="python /home/me/train.py", settings={"data": "/home/me", "lr": 0.1})
    fact = anonymous(learned(logged("secret-run"), told))
    text = fact.model_dump_json()
    assert not [word for word in ("secret", "home", "train", "metrics.csv") if word in text]
    assert fact.settings == {"lr": 0.1}


# ---------------------------------------------------------------- history played again


def history(*step_s: float) -> World:
    facts = [
        learned(logged(f"run-{number}", measurement=Measurement(step_s=seconds, steps=100)), Told(experiment="sweep"))
        for number, seconds in enumerate(step_s)
    ]
    machine = Machine(cpu="a CPU", cores=2, memory_bytes=2**34, devices=())
    return World(today="2026-11-20", machine=machine, gpus=gpus(), evidence=tuple(facts))


def test_each_fact_is_predicted_from_the_earlier_ones_alone() -> None:
    replayed = replay(history(0.1, 0.1001, 0.0999), {})
    first, *later = [one.pair.predicted for one in replayed if one.figure == "step_s"]
    assert first.source == "assumed"
    assert [one.source for one in later] == ["measured", "measured"]
    assert later[0].p50 == pytest.approx(0.1, rel=0.01)


def test_guesses_are_not_judged() -> None:
    assert judged(replay(history(0.1), {}), "step_s") is None
    tested = judged(replay(history(0.1, 0.2), {}), "step_s")
    assert tested is not None
    assert tested.pairs == 1
    assert tested.median_abs_percent == pytest.approx(50)


def test_a_fact_on_an_unknown_gpu_is_left_out() -> None:
    world = history(0.1, 0.1001)
    odd = world.evidence[0].model_copy(update={"gpu": "XPU 9"})
    assert not replay(world.model_copy(update={"evidence": (odd,)}), {})
