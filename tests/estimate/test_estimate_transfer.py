"""From one GPU to another: what has to hold of any tables, and that fitting finds what it was made from."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpuplan.data import find_gpu
from gpuplan.data.derates import Derate, Measured, Place, Slope, Tables, shipped_tables
from gpuplan.estimate.refit import Residual, Sample, fitted_tables, fitted_widths
from gpuplan.estimate.ridge import Equation, ridge
from gpuplan.estimate.transfer import Chip, chip_of, median_of, residual_scale, transfer

CARDS = ("V100 SXM2 16GB", "A100 SXM 80GB", "H100 SXM 80GB", "RTX 3090", "L4", "T4", "RTX 4090", "MI250")
REGIMES = ("", "matmul", "convolution", "bandwidth", "launch")


def chip(name: str, precision: str = "fp16") -> Chip:
    gpu = find_gpu(name)
    assert gpu is not None
    found = chip_of(gpu, precision)
    assert found is not None
    return found


# ---------------------------------------------------------------- one GPU to another


@pytest.mark.parametrize("regime", REGIMES)
@pytest.mark.parametrize("precision", ["fp32", "tf32", "fp16", "bf16"])
def test_a_gpu_is_as_fast_as_itself(regime: str, precision: str) -> None:
    for name in CARDS:
        found = transfer(chip(name, precision), chip(name, precision), regime=regime, tables=shipped_tables())
        assert found.value == 1.0
        assert found.low < 1 < found.high


@given(st.sampled_from(CARDS), st.sampled_from(CARDS), st.sampled_from(REGIMES))
def test_there_and_back_is_where_it_started(one: str, other: str, regime: str) -> None:
    there = transfer(chip(one), chip(other), regime=regime, tables=shipped_tables())
    back = transfer(chip(other), chip(one), regime=regime, tables=shipped_tables())
    assert there.value * back.value == pytest.approx(1.0)
    assert there.low * back.high == pytest.approx(1.0)
    assert there.low < there.value < there.high
    assert there.models == back.models


def test_a_newer_card_of_the_same_line_is_faster() -> None:
    line = ("V100 SXM2 16GB", "A100 SXM 80GB", "H100 SXM 80GB", "B200 SXM")
    for before, after in itertools.pairwise(line):
        assert transfer(chip(before), chip(after), regime="matmul", tables=shipped_tables()).value < 0.85


def test_the_interval_is_narrower_the_nearer_the_evidence() -> None:
    def width(one: str, other: str) -> float:
        found = transfer(chip(one), chip(other), regime="matmul", tables=shipped_tables())
        return found.high / found.low

    twins, cousins = width("A100 SXM 40GB", "A100 SXM 80GB"), width("A100 SXM 80GB", "H100 SXM 80GB")
    strangers = width("A100 SXM 80GB", "MI300X")
    assert twins < cousins < strangers


def test_a_rate_that_is_not_known_gives_no_chip() -> None:
    gpu = find_gpu("A100 SXM 80GB")
    assert gpu is not None
    assert chip_of(gpu.model_copy(update={"bandwidth_bytes_per_s": None}), "fp16") is None
    assert chip_of(gpu.model_copy(update={"peak_flops": {}}), "fp16") is None
    assert chip_of(gpu, "fp4") is None


def test_a_precision_that_the_card_lacks_runs_at_a_slower_one() -> None:
    assert chip("V100 SXM2 16GB", "bf16").place.precision == "fp32"
    assert chip("V100 SXM2 16GB", "tf32").place.precision == "fp32"
    assert chip("A100 SXM 80GB", "bf16") == chip("A100 SXM 80GB", "fp16")


def test_many_models_outvote_the_rates_and_one_goes_half_the_way() -> None:
    one, other = chip("A100 SXM 80GB"), chip("H100 SXM 80GB")

    def value(models: int) -> float:
        measured = (Measured("matmul", "", math.log(0.5), models),) if models else ()
        tables = Tables({"": Slope(0.0, 0.0)}, {}, {(one.place, other.place): measured})
        return transfer(one, other, regime="matmul", tables=tables).value

    assert value(0) == 1.0
    assert value(1) == pytest.approx(math.sqrt(0.5))
    assert value(99) == pytest.approx(0.5, rel=0.01)


def test_models_of_the_same_regime_count_most() -> None:
    one, other = chip("A100 SXM 80GB"), chip("H100 SXM 80GB")
    rows = (Measured("convolution", "", math.log(0.9), 3), Measured("matmul", "", math.log(0.5), 3))
    tables = Tables({}, {}, {(one.place, other.place): rows})
    found = {regime: transfer(one, other, regime=regime, tables=tables).value for regime in ("convolution", "matmul")}
    assert found["convolution"] > 0.9
    assert found["matmul"] < 0.65


@given(st.lists(st.tuples(st.floats(-3, 3), st.floats(0.1, 5)), min_size=1, max_size=12))
def test_a_median_turns_over_with_its_values(rows: list[tuple[float, float]]) -> None:
    turned = [(-value, weight) for value, weight in rows]
    middle = median_of(rows)
    assert min(rows)[0] <= middle <= max(rows)[0]
    assert median_of(turned) == pytest.approx(-middle, abs=1e-9) or _on_the_edge(rows)


def _on_the_edge(rows: list[tuple[float, float]]) -> bool:
    """Whether rounding decides on which side of a value the halves meet."""
    total, below = sum(weight for _, weight in rows), 0.0
    for _, weight in sorted(rows):
        below += weight
        if math.isclose(below, total / 2, rel_tol=1e-6):
            return True
    return False


# ---------------------------------------------------------------- refitting


def samples(*, skip: str = "") -> list[Sample]:
    """Six models of two regimes on seven cards: time goes with flops^-0.5 bw^-0.4, and each card has its own factor."""
    found = []
    for number, (model, name) in enumerate(itertools.product("abcdef", CARDS[:7])):
        if name == skip:
            continue
        place, regime = chip(name), ("matmul", "convolution")["abcdef".index(model) % 2]
        own = FACTORS[name]
        seconds = "abcdef".index(model) - 0.5 * place.flops - 0.4 * place.bandwidth + own
        found.append(Sample(model, model, "made", regime, place, seconds + 0.001 * (number % 3)))
    return found


FACTORS = dict(zip(CARDS, (0.1, 0.0, -0.1, 0.05, -0.05, 0.2, 0.0, 0.0), strict=True))


def test_fitting_finds_what_the_times_were_made_from() -> None:
    tables = fitted_tables(samples())
    for one, other in itertools.permutations(CARDS[:7], 2):
        here, there = chip(one), chip(other)
        expected = -0.5 * (there.flops - here.flops) - 0.4 * (there.bandwidth - here.bandwidth)
        expected += FACTORS[other] - FACTORS[one]
        found = transfer(here, there, regime="matmul", tables=tables, stack="made")
        assert math.log(found.value) == pytest.approx(expected, abs=0.03)
        assert found.models == 6


def test_a_card_held_out_leaves_no_trace_and_is_predicted_by_its_rates() -> None:
    tables = fitted_tables(samples(skip="H100 SXM 80GB"))
    assert not any(gpu == "H100 SXM 80GB" for gpu, _ in tables.derates)
    assert not any("H100 SXM 80GB" in (one.gpu, other.gpu) for one, other in tables.ratios)
    here, there = chip("A100 SXM 80GB"), chip("H100 SXM 80GB")
    truth = -0.5 * (there.flops - here.flops) - 0.4 * (there.bandwidth - here.bandwidth)
    found = transfer(here, there, regime="matmul", tables=tables)
    assert math.log(found.value) == pytest.approx(truth, abs=0.25)
    assert found.models == 0


def test_a_model_measured_often_is_one_model_still() -> None:
    often = [
        Sample(f"a{again}", "a", "made", "matmul", chip(name), 3.0 * (name == "T4"))
        for again in range(9)
        for name in ("L4", "T4")
    ]
    measured = fitted_tables([*samples(), *often]).ratios[chip("L4").place, chip("T4").place]
    assert next(row for row in measured if row.regime == "matmul").models == 3


def test_a_single_row_says_nothing_about_gpus() -> None:
    tables = fitted_tables(samples()[:1])
    assert tables.ratios == {}
    assert [derate.factor for derate in tables.derates.values()] == pytest.approx([1.0] * len(tables.derates))


def test_no_rows_at_all_leave_what_is_known_of_gpus_beforehand() -> None:
    tables = fitted_tables([])
    assert transfer(chip("A100 SXM 80GB"), chip("H100 SXM 80GB"), regime="", tables=tables).value < 1


def test_widths_hold_most_of_the_errors() -> None:
    residuals = [Residual("matmul", measured=True, error=number / 100) for number in range(100)]
    assert fitted_widths(residuals) == {("matmul", True): 0.83, ("", True): 0.83}
    assert fitted_widths(residuals[:5]) == {}


def test_errors_grow_with_the_distance_of_two_gpus() -> None:
    near = residual_scale(chip("A100 SXM 40GB"), chip("A100 SXM 80GB"))
    far = residual_scale(chip("T4"), chip("H100 SXM 80GB"))
    assert 0 < near < far < 2
    assert residual_scale(chip("T4"), chip("T4")) > 0


# ---------------------------------------------------------------- least squares


@given(st.lists(st.floats(-5, 5), min_size=4, max_size=4), st.integers(0, 10**6))
def test_least_squares_without_noise_are_exact(truth: list[float], seed: int) -> None:
    def factor(row: int, column: int) -> float:
        return math.sin(1 + seed + 7 * row + 3 * column * row)

    equations = [
        Equation(
            {column: factor(row, column) for column in range(4)},
            sum(factor(row, column) * truth[column] for column in range(4)),
        )
        for row in range(40)
    ]
    found = ridge(equations, dict.fromkeys(range(4), 1e-9))
    for equation in equations:
        told = sum(share * found[column] for column, share in equation.factors.items())
        assert told == pytest.approx(equation.target, abs=1e-3)


def test_a_penalty_pulls_towards_zero() -> None:
    equations = [Equation({"level": 1.0}, 3.0) for _ in range(4)]
    assert ridge(equations, {"level": 4.0})["level"] == pytest.approx(1.5)
    assert ridge(equations, {"level": 1e-9})["level"] == pytest.approx(3.0)
    assert ridge([], {}) == {}
    assert Place("a", "half") < Place("b", "half")
    assert Derate(1.0).rows == 0
