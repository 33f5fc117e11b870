"""Programs for a GPU, traced without one: what is alive, whose it is, and what was assumed."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from gpuplan.model import Line
from gpuplan.trace import Traced, trace
from gpuplan.units import MIB

PROGRAMS = Path(__file__).parent / "programs"
WIDTH, LAYERS = 256, 3
PARAMETERS = 2 * 4 * WIDTH**2 + 5 * WIDTH
WEIGHTS = 4 * PARAMETERS


@cache
def traced(target: str, capability: str = "8.0", **settings: object) -> Traced:
    return trace(
        target,
        {"batch_size": 4, **settings},  # type: ignore[dict-item]
        workdir=PROGRAMS,
        micro_batch="batch_size",
        compute_capability=capability,
    )


def alive(answer: Traced, phase: str, batch: float = 4) -> dict[str, float]:
    """Bytes by component at the phase's largest moment."""
    moments = [moment for moment in answer.footprint.moments if moment.phase == phase]
    most = max(moments, key=lambda moment: moment.total_bytes(batch))
    return {component: line.at(batch) for component, line in most.alive_bytes.items()}


# ---------------------------------------------------------------- lifetimes


def test_a_plain_step_is_known_to_the_byte() -> None:
    answer = traced("habits:plain")
    footprint = answer.footprint
    assert footprint.parameters == PARAMETERS
    assert footprint.gradient_bytes == WEIGHTS
    assert footprint.checkpoint_bytes == 3 * WEIGHTS
    assert footprint.precision == "fp32"
    # A multi-tensor Adam holds one more copy of the parameters while it steps.
    rows = 4 * WIDTH * 4
    assert alive(answer, "optimizer") == {
        "parameters": WEIGHTS,
        "gradients": WEIGHTS,
        "optimizer": 2 * WEIGHTS,
        "temporaries": WEIGHTS,
        "inputs": rows,
    }
    # Saved for the backward pass: the input of GELU, its output, and what is squared.
    forward = alive(answer, "forward")
    assert "gradients" not in forward
    assert forward["activations"] == pytest.approx((4 + 4 + 1) * rows, rel=0.01)


def test_flops_are_those_of_the_matrix_products() -> None:
    footprint = traced("habits:plain").footprint
    # The first layer needs no gradient of its input.
    per_row = 2 * 4 * WIDTH**2 * (2 + 3)
    assert footprint.flops(4) == 4 * per_row
    classes = {operators.kind: operators for operators in footprint.operators}
    assert classes["matmul"].kernels == 5
    assert classes["optimizer"].flops.at(4) == 0
    assert classes["optimizer"].moved_bytes.at(4) > 10 * WEIGHTS


def test_gradients_that_stay_are_there_in_the_forward_pass() -> None:
    assert alive(traced("habits:gradients_stay"), "forward")["gradients"] == WEIGHTS


def test_accumulated_gradients_are_counted_once() -> None:
    answer = traced("habits:accumulation")
    assert answer.footprint.gradient_bytes == WEIGHTS
    assert alive(answer, "backward")["gradients"] == WEIGHTS
    assert answer.footprint.flops(4) == pytest.approx(4 * traced("habits:plain").footprint.flops(4))


def test_a_second_copy_of_the_weights_counts_as_parameters() -> None:
    assert alive(traced("habits:averaged"), "optimizer")["parameters"] == 3 * WEIGHTS


def test_the_host_holds_its_data_set_by_itself() -> None:
    answer = traced("habits:loaded")
    data_set = 100_000 * (WIDTH * 4 + 8)
    assert sum(alive(answer, "backward").values()) < data_set
    assert alive(answer, "forward")["inputs"] == 4 * (WIDTH * 4 + 8)
    assert any("98 MiB stay in the host's memory" in assumption for assumption in answer.assumptions)
    assert any("habits.py" in assumption and "values" in assumption for assumption in answer.assumptions)


def test_a_leak_is_told() -> None:
    answer = traced("habits:leaking")
    assert any("each step leaves" in assumption for assumption in answer.assumptions)
    assert not any("each step leaves" in assumption for assumption in traced("habits:plain").assumptions)


def test_values_of_the_host_are_real_and_those_of_the_device_guessed() -> None:
    answer = traced("habits:precise")
    # What is known of the device needs no guess: a mask of ones is all true.
    assert any("1 values of tensors a step" in assumption for assumption in answer.assumptions)


def test_a_module_can_be_moved_by_keyword() -> None:
    assert alive(traced("habits:moved"), "optimizer")["parameters"] == WEIGHTS


# ---------------------------------------------------------------- lines


def test_two_traces_make_lines_for_every_batch() -> None:
    two = trace("decoder:make_step", {"batch_size": 4}, workdir=PROGRAMS, micro_batch="batch_size", batches=(2, 3))
    one = trace("decoder:make_step", {"batch_size": 4}, workdir=PROGRAMS, micro_batch="batch_size", batches=(64,))
    assert two.is_linear
    assert not one.is_linear
    peak = one.footprint.peak(64)
    assert two.footprint.peak(64).total_bytes(64) == peak.total_bytes(64)
    assert two.footprint.peak(64).phase == peak.phase != two.footprint.peak(1).phase
    assert two.at(5) is two.footprint
    assert one.at(5) is None


@pytest.mark.parametrize(
    ("target", "why"),
    [("habits:contrastive", "does not grow in a line"), ("habits:branching", "the operators differ")],
)
def test_where_there_is_no_line_each_batch_stands_by_itself(target: str, why: str) -> None:
    answer = traced(target)
    assert not answer.is_linear
    assert why in str(answer.difference)
    assert [part.batches for part in answer.parts] == [(4,), (8,)]
    assert answer.at(8) is answer.parts[1].footprint
    assert answer.at(6) is None
    assert all(line.slope == 0 for moment in answer.footprint.moments for line in moment.alive_bytes.values())


def test_the_stream_replays_to_the_peak() -> None:
    answer = traced("decoder:make_step")
    stream = answer.stream
    assert stream.whole
    sizes, held, most = [stream.lines[index].at(4) for index in stream.line_of], 0.0, 0.0
    made = 0
    for event in stream.events:
        if event == 0:
            held += sizes[made]
            made += 1
        else:
            held -= sizes[made - event]
        most = max(most, held)
    assert made == len(sizes) == len(stream.component_of)
    assert most == answer.footprint.peak(4).total_bytes(4)
    names = [name for _, name in stream.marks]
    assert names[0] == "build"
    assert list(dict.fromkeys(names[names.index("step") :])) == ["step", "forward", "backward", "optimizer"]


# ---------------------------------------------------------------- kernels


def test_dropout_keeps_one_byte_an_element() -> None:
    without, with_dropout = (alive(traced("decoder:make_step", dropout=p), "forward") for p in (0.0, 0.1))
    kept = with_dropout["activations"] - without["activations"]
    # Two masks a layer: what dropout gives is only added, and attention's own keeps the state of its generator.
    assert kept == 4 * 64 * 96 * 2 * LAYERS


@pytest.mark.parametrize(
    ("capability", "precision", "kernel"),
    [("8.0", "fp32", "memory-efficient"), ("8.0", "bf16", "flash"), ("7.5", "bf16", "math")],
)
def test_the_compute_capability_decides_the_attention_kernel(capability: str, precision: str, kernel: str) -> None:
    answer = traced("decoder:make_step", capability, precision=precision)
    assert f"attention kernels for compute capability {capability}: {kernel} (3x)" in answer.assumptions


def test_autocast_keeps_the_casts_of_weights_until_it_ends() -> None:
    answer = traced("decoder:make_step", precision="bf16")
    half = [moment for moment in answer.footprint.moments if moment.phase == "backward"]
    full = [moment for moment in traced("decoder:make_step").footprint.moments if moment.phase == "backward"]
    assert answer.footprint.precision == "bf16"
    assert half[0].alive_bytes["activations"].slope < 0.8 * full[0].alive_bytes["activations"].slope
    assert half[0].alive_bytes["activations"].intercept > full[0].alive_bytes["activations"].intercept


def test_logits_are_told_from_activations() -> None:
    answer = traced("decoder:make_step")
    logits = max(moment.alive_bytes.get("logits", Line()).at(4) for moment in answer.footprint.moments)
    # Their log-softmax, its gradient and that of the logits.
    assert logits == 3 * 4 * 64 * 2000 * 4
    largest = next(peak for peak in answer.peaks if peak.moment is answer.footprint.peak(64)).behind[0]
    assert largest.component == "logits"
    assert largest.place is not None
    assert Path(largest.place.path).name == "decoder.py"


def test_checkpointing_recomputes_and_a_fused_optimizer_has_no_temporary() -> None:
    plain, leaner = (traced("decoder:make_step", checkpointing=on, fused=on) for on in (False, True))
    assert leaner.footprint.flops(4) > plain.footprint.flops(4)
    assert alive(leaner, "forward")["activations"] < 0.5 * alive(plain, "forward")["activations"]
    assert alive(leaner, "optimizer")["temporaries"] < 0.1 * MIB
    assert alive(plain, "optimizer")["temporaries"] > MIB


def test_lora_holds_gradients_of_its_layers_only() -> None:
    answer = traced("decoder:make_step", lora=True)
    trained = LAYERS * 8 * (96 + 3 * 96)
    assert answer.footprint.gradient_bytes == 4 * trained
    assert answer.footprint.parameters > 10 * trained


def test_a_gradient_scaler_runs_the_optimizer() -> None:
    answer = traced("habits:scaled")
    assert answer.footprint.precision == "fp16"
    assert alive(answer, "backward")["gradients"] >= WEIGHTS // 2
    assert "optimizer" in {operators.kind for operators in answer.footprint.operators}
