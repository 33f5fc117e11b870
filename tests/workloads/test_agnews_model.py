"""The classifier: the original's sizes, no look at padding, finite for empty rows."""

from __future__ import annotations

import math

import pytest
import torch

from gpuplan.workloads.agnews.model import Classifier, mean_of_real, sinusoids


def classifier(**changes: int) -> Classifier:
    torch.manual_seed(0)
    sizes = {"vocabulary": 50, "sequence": 6, "d_model": 8, "layers": 2, "heads": 2, "feedforward": 16, "classes": 4}
    return Classifier(**(sizes | changes), dropout=0.0)


@pytest.mark.parametrize(
    ("sizes", "parameters"),
    [
        ({"d_model": 128, "layers": 2, "heads": 4, "feedforward": 256}, 2_825_476),
        ({"d_model": 256, "layers": 4, "heads": 8, "feedforward": 1024}, 8_280_068),
    ],
)
def test_sizes_are_those_of_the_original(sizes: dict[str, int], parameters: int) -> None:
    model = classifier(vocabulary=20000, **sizes)
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters


@pytest.mark.parametrize("training", [True, False])
def test_padding_changes_nothing(training: bool) -> None:
    short, long = classifier(sequence=3).train(training), classifier(sequence=6).train(training)
    long.load_state_dict(short.state_dict())
    tokens = torch.tensor([[7, 8, 9], [5, 6, 0]])
    padded = torch.cat([tokens, torch.zeros(2, 3, dtype=torch.int64)], dim=1)
    assert torch.allclose(short(tokens), long(padded), atol=1e-6)


@pytest.mark.parametrize("training", [True, False])
def test_a_row_without_words_has_finite_logits_and_gradients(training: bool) -> None:
    model = classifier().train(training)
    logits = model(torch.zeros(2, 6, dtype=torch.int32))
    assert torch.isfinite(logits).all()
    logits.sum().backward()
    assert all(parameter.grad is None or torch.isfinite(parameter.grad).all() for parameter in model.parameters())


def test_the_order_of_words_matters() -> None:
    model = classifier()
    assert not torch.allclose(model(torch.tensor([[3, 4, 5, 0, 0, 0]])), model(torch.tensor([[5, 4, 3, 0, 0, 0]])))


def test_layers_start_with_weights_of_their_own() -> None:
    first, second = classifier().encoder.layers
    assert not torch.equal(first.linear1.weight, second.linear1.weight)


def test_sinusoids() -> None:
    table = sinusoids(5, 4)
    assert table[0].tolist() == [0.0, 1.0, 0.0, 1.0]
    assert table[3].tolist() == pytest.approx([math.sin(3), math.cos(3), math.sin(0.03), math.cos(0.03)])


def test_mean_counts_real_tokens_only() -> None:
    hidden = torch.tensor([[[1.0], [3.0], [100.0]], [[5.0], [5.0], [5.0]]])
    real = torch.tensor([[True, True, False], [False, False, False]])
    assert mean_of_real(hidden, real).tolist() == [[2.0], [0.0]]
