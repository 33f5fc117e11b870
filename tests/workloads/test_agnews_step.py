"""One step: what the tracer calls, the schedule, and the scaling of a rank's loss."""

from __future__ import annotations

import pytest
import torch

from gpuplan.workloads.agnews.config import from_settings
from gpuplan.workloads.agnews.errors import WorkloadError
from gpuplan.workloads.agnews.step import Parts, build, make_step, rate_factor, training_step

TINY = {"d_model": 8, "layers": 1, "heads": 2, "feedforward": 16, "vocabulary": 64, "sequence": 6, "batch_size": 4}


def parts(**settings: object) -> Parts:
    torch.manual_seed(0)
    return build(from_settings(TINY | settings), device=torch.device("cpu"), total_steps=10)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_make_step_trains_one_step_a_call(precision: str) -> None:
    step = make_step(TINY | {"precision": precision, "copies": 8, "output_dir": "nowhere"})
    losses = [step(), step()]
    assert all(loss.shape == () and torch.isfinite(loss) for loss in losses)


def test_make_step_takes_the_batch_and_the_sequence_of_the_settings() -> None:
    seen: list[tuple[int, ...]] = []
    hook = torch.nn.modules.module.register_module_forward_pre_hook(
        lambda module, inputs: seen.append(tuple(inputs[0].shape)) if type(module).__name__ == "Classifier" else None
    )
    with hook:
        make_step(TINY | {"batch_size": 3, "sequence": 5})()
    assert seen == [(3, 5)]


def test_make_step_refuses_what_a_run_would_refuse() -> None:
    with pytest.raises(WorkloadError, match="--d-model 9"):
        make_step(TINY | {"d_model": 9})


def test_two_unequal_shares_give_the_gradient_of_the_whole() -> None:
    torch.manual_seed(1)
    tokens, labels = torch.randint(1, 64, (5, 6)), torch.randint(4, (5,))
    whole = gradient(tokens, labels, weight=1 / 5)
    ranks = [gradient(tokens[rows], labels[rows], weight=2 / 5) for rows in (slice(0, 4), slice(4, 5))]
    assert torch.allclose((ranks[0] + ranks[1]) / 2, whole, atol=1e-7)


def gradient(tokens: torch.Tensor, labels: torch.Tensor, *, weight: float) -> torch.Tensor:
    """The gradient of one step of the same initial model, as one vector."""
    fresh = parts(dropout=0.0)
    training_step(fresh.model, fresh, tokens=tokens, labels=labels, weight=weight, precision="fp32")
    return torch.cat([parameter.grad.flatten() for parameter in fresh.model.parameters() if parameter.grad is not None])


def test_the_rate_rises_and_falls_in_lines() -> None:
    rates = [rate_factor(step, warmup_steps=4, total_steps=10) for step in range(11)]
    assert rates[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert rates[5:] == pytest.approx([5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6, 0.0])


def test_no_warm_up_and_one_that_is_longer_than_the_run() -> None:
    assert rate_factor(0, warmup_steps=0, total_steps=5) == 1.0
    assert [rate_factor(step, warmup_steps=8, total_steps=2) for step in range(2)] == [1 / 8, 2 / 8]


def test_the_optimizer_follows_the_schedule() -> None:
    fresh = parts(learning_rate=0.4, warmup_steps=4)
    rates = []
    for _ in range(3):
        rates.append(fresh.optimizer.param_groups[0]["lr"])
        tokens, labels = torch.ones(1, 6).long(), torch.zeros(1).long()
        training_step(fresh.model, fresh, tokens=tokens, labels=labels, weight=1.0, precision="fp32")
    assert rates == pytest.approx([0.1, 0.2, 0.3])
