"""The shipped dimensions: each comes out to the published number of parameters, and is found by its usual names."""

from __future__ import annotations

import pytest

from gpuplan.data.models import ModelFacts, find_model, models, near_models
from gpuplan.footprint.census import census_of
from gpuplan.footprint.lookalike import lookalike


@pytest.mark.parametrize("model", models().values(), ids=lambda model: model.name)
def test_dimensions_come_out_to_the_published_parameters(model: ModelFacts) -> None:
    assert census_of(model).total == model.parameters


@pytest.mark.parametrize("model", models().values(), ids=lambda model: model.name)
def test_a_row_has_a_source_a_date_and_sound_dimensions(model: ModelFacts) -> None:
    assert "20" in model.source
    assert model.heads % model.kv_heads == 0
    assert (model.experts == 0) == (model.experts_per_token == 0)
    assert find_model(model.name) is model


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("mistralai/Mistral-7B-v0.1", "Mistral-7B"),
        ("TheBloke/Mixtral-8x7B-Instruct-v0.1-GPTQ", "Mixtral-8x7B"),
        ("NousResearch/Llama-2-70b-hf", "Llama-2-70B"),
        ("Llama 2 7 B", "Llama-2-7B"),
        ("Qwen/Qwen2.5-7B-Instruct", "Qwen2-7B"),
        ("qwen1half-7b-chat", "Qwen1.5-7B"),
        ("Qwen-7B-Chat-Int4", "Qwen-7B"),
        ("unsloth/Meta-Llama-3.1-8B-bnb-4bit", "Llama-3-8B"),
    ],
)
def test_usual_names(name: str, meant: str) -> None:
    found = find_model(name)
    assert found is not None
    assert found.name == meant


def test_an_unknown_name_has_neighbours() -> None:
    assert find_model("Lama-2-7b") is None
    assert "Llama-2-7B" in near_models("Lama-2-7b")
    assert find_model("") is None
    assert near_models("\0" * 1000) == ()


@pytest.mark.parametrize(("billions", "near"), [(7.2, "Foo-7B"), (70, ""), (0.3, "gpt-small"), (410, "x")])
def test_a_lookalike_has_about_the_parameters(billions: float, near: str) -> None:
    found = lookalike(billions * 1e9, near=near)
    assert census_of(found).total == pytest.approx(billions * 1e9, rel=0.1)


def test_a_lookalike_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="not a transformer's"):
        lookalike(3)
