"""Closed form and trace on a slice of benchmarks/agreement.py's grid: one of each family, and two of real sizes."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("torch")

from agreement import CLOSE_PCT, architecture_of, compare, footprint_of, traced
from agreement_grid import FAMILIES, grid

if TYPE_CHECKING:
    from agreement_grid import Config


def slice_of_the_grid() -> list[Config]:
    """Of each family another precision, batch and way to train; then GPT-2 and BERT Base as published."""
    plain = grid(transformers=False)
    found = []
    for number, family in enumerate(FAMILIES):
        alike = [config for config in plain if config["name"] == family]
        found.append(alike[(2 * number + 2) % len(alike)])
    return [*found, *(next(config for config in plain if config["name"] == name) for name in ("GPT-2", "BERT Base"))]


def test_trace_and_closed_form_agree() -> None:
    configs = slice_of_the_grid()
    answers = traced(configs, python=sys.executable)
    assert len(configs) == len(answers) >= 10
    for config, answer in zip(configs, answers, strict=True):
        assert "failure" not in answer, answer
        found = compare(config, answer)
        assert abs(found.error_pct) <= CLOSE_PCT, (config, found)
        assert answer["document"]["traces"][0]["parameters"] == _with_adapters(config)


def _with_adapters(config: Config) -> int:
    footprint = footprint_of(config)
    assert footprint.trainable is not None
    return footprint.parameters + (footprint.trainable if config["lora"] else 0)


def test_the_grid_holds_what_it_says() -> None:
    whole = grid()
    assert len(grid(transformers=False)) >= 180
    assert len(whole) >= 240
    for name in ("precision", "checkpointing", "optimizer", "attention", "lora", "tied", "library"):
        assert len({config[name] for config in whole}) > 1, name
    names = [str(sorted(config.items())) for config in whole]
    assert len(set(names)) >= 200
    assert {architecture_of(config).kind for config in whole} == {"decoder", "encoder", "vision", "encoder_decoder"}
