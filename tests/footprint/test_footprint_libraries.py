"""Which kernels a library's version runs, and what is said to be taken for granted."""

from __future__ import annotations

import pytest

from gpuplan.data.kernels import kernels
from gpuplan.data.models import find_model
from gpuplan.footprint.libraries import Description, Prepared, prepare


def prepared(name: str, asked: Description) -> Prepared:
    known = find_model(name)
    assert known is not None
    return prepare(known, asked)


@pytest.mark.parametrize(
    ("version", "torch", "loss"),
    [
        ("4.30", "", "hf_upcast_in_model"),
        ("4.45.2", "", "hf_upcast_in_model"),
        ("4.48.1", "", "hf_shift_copy"),
        ("4.50", "", "hf_shift_labels"),
        ("", "", "hf_shift_labels"),
        ("", "2.4", "hf_upcast_in_model"),
        ("", "2.13", "hf_shift_labels"),
        ("", "1.10", "hf_upcast_in_model"),
    ],
)
def test_the_loss_of_a_version(version: str, torch: str, loss: str) -> None:
    asked = Description(library_version=version, torch_version=torch)
    assert prepared("Mistral-7B", asked).recipe.loss == loss


def test_a_family_that_never_upcasts() -> None:
    assert prepared("santacoder", Description(library_version="4.48.1")).recipe.loss == "hf_16bit"
    assert prepared("santacoder", Description(autocast=True)).recipe.loss == "hf_16bit_autocast"
    assert prepared("GPT-2", Description(precision="fp32", library_version="4.30")).recipe.loss == "plain_32bit"


def test_fused_kernels_win_over_versions() -> None:
    asked = Description(library_version="4.45.2", fused=frozenset({"loss"}))
    assert prepared("Mistral-7B", asked).recipe.loss == "foak_upcast_in_model"
    assert prepared("Mistral-7B", Description(fused=frozenset({"loss", "linear_loss"}))).recipe.loss == "fused_linear"


def test_adapters_are_in_32_bits_beside_a_16_bit_model() -> None:
    recipe = prepared("Mistral-7B", Description(method="lora")).recipe
    assert (recipe.trained_bytes, recipe.storage) == (4, "bf16")
    assert prepared("Mistral-7B", Description(library="litgpt", method="lora")).recipe.trained_bytes == 2


def test_old_torch_keeps_gradients_and_frozen_shards() -> None:
    assert prepared("BERT Large", Description(torch_version="1.10")).recipe.keeps_gradients
    assert not prepared("BERT Large", Description(torch_version="2.1")).recipe.keeps_gradients
    asked = Description(library="litgpt", method="lora", torch_version="2.1", world=2, sharding="fsdp")
    assert not prepared("Llama-2-7B", asked).recipe.reshards


def test_mistrals_attention_copied_until_4_48() -> None:
    assert prepared("Mistral-7B", Description(library_version="4.45.2")).recipe.copies_qkv
    assert not prepared("Mistral-7B", Description(library_version="4.48.1")).recipe.copies_qkv
    assert not prepared("Llama-3-8B", Description(library_version="4.45.2")).recipe.copies_qkv


def test_what_is_not_said_is_named() -> None:
    assumed = prepared("Mistral-7B", Description(method="lora")).assumed
    assert any("hf_shift_labels (loss)" in text for text in assumed)
    assert any("newest transformers" in text for text in assumed)
    assert any("adapters on q, v" in text for text in assumed)
    said = Description(method="lora", library_version="4.48.1", optimizer="adamw", targets=("q",))
    assert prepared("Mistral-7B", said).assumed == ()


@pytest.mark.parametrize("library", ["hf", "litgpt", "torchtune", "unsloth", "plain"])
def test_every_library_names_known_kernels(library: str) -> None:
    recipe = prepared("Llama-3-8B", Description(library=library, method="lora")).recipe  # type: ignore[arg-type]
    for kind in ("loss", "norm", "adapter", "attention", "feedforward"):
        assert (kind, getattr(recipe, kind)) in kernels()
