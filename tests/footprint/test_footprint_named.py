"""Models by name or by configuration file: real configurations, hostile ones, and what is said of unknown ones."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_footprint import experiment, world

from gpuplan.expand import expand
from gpuplan.footprint import Unknown, footprint_of
from gpuplan.footprint.census import census_of
from gpuplan.footprint.huggingface import facts_of_config
from gpuplan.footprint.named import footprint_of_facts
from gpuplan.model import ConfigFact, Footprint, FootprintSource, Roles

LLAMA: dict[str, Any] = {
    "model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 2048, "intermediate_size": 8192,
    "num_hidden_layers": 16, "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128_256,
    "tie_word_embeddings": True, "head_dim": 64, "hidden_act": "silu", "rope_scaling": {"factor": 32.0},
}  # fmt: skip
BERT: dict[str, Any] = {
    "model_type": "bert", "architectures": ["BertForSequenceClassification"], "hidden_size": 768,
    "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12, "vocab_size": 30_522,
    "max_position_embeddings": 512, "id2label": {"0": "a", "1": "b", "2": "c", "3": "d"}, "hidden_act": "gelu",
}  # fmt: skip
GPT2: dict[str, Any] = {"model_type": "gpt2", "n_layer": 12, "n_embd": 768, "n_head": 12, "n_positions": 1024,
                        "vocab_size": 50_257, "n_inner": None, "activation_function": "gelu_new"}  # fmt: skip
T5: dict[str, Any] = {"model_type": "t5", "d_model": 512, "d_kv": 64, "d_ff": 2048, "num_layers": 6, "num_heads": 8,
                      "vocab_size": 32_128, "feed_forward_proj": "relu"}  # fmt: skip
VIT: dict[str, Any] = {"model_type": "vit", "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12,
                       "intermediate_size": 3072, "image_size": 224, "patch_size": 16,
                       "id2label": {str(number): "x" for number in range(1000)}}  # fmt: skip
MIXTRAL: dict[str, Any] = {"model_type": "mixtral", "hidden_size": 4096, "num_hidden_layers": 32,
                           "num_attention_heads": 32, "num_key_value_heads": 8, "intermediate_size": 14_336,
                           "vocab_size": 32_000, "num_local_experts": 8, "num_experts_per_tok": 2}  # fmt: skip


@pytest.mark.parametrize(
    ("content", "parameters"),
    [
        (LLAMA, 1_235_814_400),
        (BERT, 109_485_316),  # transformers 5.23: 109,482,240 and a head of four classes
        (GPT2, 124_439_808),
        (T5, 60_506_624),
        (VIT, 86_567_656),
        (MIXTRAL, 46_702_792_704),
    ],
)
def test_real_configurations(content: dict[str, Any], parameters: int) -> None:
    facts = facts_of_config(content, name="config.json")
    assert not isinstance(facts, Unknown), facts
    assert census_of(facts).total == parameters
    footprint = footprint_of_facts(facts, sequence=128, precision="bf16")
    assert isinstance(footprint, Footprint)
    assert footprint.parameters == parameters
    assert footprint.because.startswith("config.json (its configuration): closed form")


def asked_of(model: str, **fields: Any) -> Any:
    roles = Roles(sequence="length")
    settings = {"batch": 8, "length": 128, "size": "base"}
    return experiment(footprint=FootprintSource(model=model), roles=roles).model_copy(
        update={"settings": settings, **fields}
    )


def test_a_configuration_file_of_the_world() -> None:
    asked = asked_of("models/{size}/config.json")
    run = expand(asked)[0]
    path = "models/base/config.json"
    found = footprint_of(run, asked, world(configs={path: ConfigFact(path=path, content=LLAMA)}))
    assert isinstance(found, Footprint)
    assert found.parameters == 1_235_814_400
    assert path in found.because


def test_a_model_by_its_name() -> None:
    asked = asked_of("meta-llama/Llama-3.2-1B")
    found = footprint_of(expand(asked)[0], asked, world())
    assert isinstance(found, Footprint)
    assert found.parameters == 1_235_814_400
    assert "transformers' own modules" in found.because


def test_neither_a_file_nor_a_name() -> None:
    asked = asked_of("Lama-2-7b")
    problem = ConfigFact(path="Lama-2-7b", problem="there is no file Lama-2-7b in /somewhere")
    found = footprint_of(expand(asked)[0], asked, world(configs={"Lama-2-7b": problem}))
    assert isinstance(found, Unknown)
    assert found.reason == "there is no file Lama-2-7b in /somewhere, and no model of that name is known"
    assert "did you mean Llama-2-7B" in found.add


def test_a_length_that_is_not_said_and_one_that_is_too_long() -> None:
    asked = asked_of("GPT-2", roles=Roles())
    found = footprint_of(expand(asked)[0], asked, world())
    assert isinstance(found, Unknown)
    assert found.add == "set `roles.sequence`"
    long = asked_of("GPT-2", settings={"batch": 8, "length": 4096})
    found = footprint_of(expand(long)[0], long, world())
    assert isinstance(found, Unknown)
    assert "1024 positions" in found.reason


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model_type": "mamba"}, "only these are known"),
        ({"model_type": None}, "only these are known"),
        ({"model_type": ["llama"]}, "only these are known"),
        ({"text_config": {}}, "several models in one"),
        ({"quantization_config": {"bits": 4}}, "quantised"),
        ({"hidden_size": "2048"}, "its hidden_size is '2048', not a whole number"),
        ({"hidden_size": None}, "it has no hidden_size or n_embd or d_model"),
        ({"num_hidden_layers": 0}, "its num_hidden_layers is '0'"),
        ({"num_hidden_layers": True}, "its num_hidden_layers is 'True'"),
        ({"vocab_size": 1e300}, "its vocab_size is"),
        ({"vocab_size": float("nan")}, "its vocab_size is 'nan'"),
        ({"vocab_size": [1] * 100}, "its vocab_size is"),
        ({"num_key_value_heads": 5}, "do not divide its 32 heads"),
        ({"head_dim": None, "num_attention_heads": 24, "num_key_value_heads": 8}, "do not divide its width of 2048"),
        ({"num_local_experts": 2, "num_experts_per_tok": 4}, "are more than its 2 experts"),
    ],
)
def test_hostile_configurations(changes: dict[str, Any], said: str) -> None:
    found = facts_of_config(LLAMA | changes, name="config.json")
    assert isinstance(found, Unknown)
    assert said in found.reason
    assert "footprint.model" in found.add


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**12), 10**12) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from([*LLAMA, *GPT2, *T5, *VIT, *MIXTRAL]), JSON, max_size=6))
def test_any_content_has_an_answer(changes: dict[str, Any]) -> None:
    found = facts_of_config(LLAMA | changes, name="config.json")
    assert isinstance(found, Unknown) or census_of(found).total > 0
