"""transformers' own modules from configurations, without weights, and one training step of each.

Runs in the tracer's child, in a Python that has transformers; it never imports gpuplan.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import transformers  # type: ignore[import-not-found,unused-ignore]

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["make_step"]

DEVICE = "cuda"


def make_step(shape: dict[str, Any]) -> Callable[[], None]:
    """One training step of `shape`, for the tracer."""
    pure = shape["precision"] == "pure"
    torch.set_default_dtype(torch.bfloat16 if pure else torch.float32)
    model: Any = MODELS[shape["family"]](shape)
    torch.set_default_dtype(torch.float32)
    model.to(DEVICE).train()
    if shape["checkpointing"]:
        model.activation_checkpointing_enable({"use_reentrant": False})
    trained = list(model.parameters())
    if shape["optimizer"] == "sgd":
        optimizer: torch.optim.Optimizer = torch.optim.SGD(trained, lr=0.1)
    else:
        optimizer = torch.optim.AdamW(trained, fused=True if shape["optimizer"] == "adamw_fused" else None)

    def step() -> None:
        batch = batch_of(shape)
        with torch.autocast(DEVICE, dtype=torch.bfloat16, enabled=shape["precision"] == "bf16"):
            loss = model(**batch).loss  # as the Trainer, which lets go of the logits
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def batch_of(shape: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """What the Trainer would hand over, without padding."""
    rows, length, classes = shape["rows"], shape["sequence"], shape["classes"]
    if shape["family"] == "vit":
        dtype = torch.bfloat16 if shape["precision"] == "pure" else torch.float32
        images = torch.randn(rows, 3, shape["image"], shape["image"], dtype=dtype, device=DEVICE)
        return {"pixel_values": images, "labels": torch.randint(classes, (rows,), device=DEVICE)}
    ids = torch.randint(shape["vocabulary"], (rows, length), device=DEVICE)
    labels = torch.randint(classes, (rows,), device=DEVICE) if classes else torch.randint_like(ids, 2)
    return {"input_ids": ids, "labels": labels}


def _gpt2(shape: Mapping[str, Any]) -> Any:
    config = transformers.GPT2Config(
        vocab_size=shape["vocabulary"], n_positions=shape["sequence"], n_embd=shape["d_model"],
        n_layer=shape["layers"], n_head=shape["heads"], n_inner=shape["feedforward"],
        attn_implementation=shape["attention"], use_cache=False,
    )  # fmt: skip
    return transformers.GPT2LMHeadModel(config)


def _rotary(config: type[Any], model: type[Any], **extra: Any) -> Callable[[Mapping[str, Any]], Any]:
    def build(shape: Mapping[str, Any]) -> Any:
        made = config(
            vocab_size=shape["vocabulary"], hidden_size=shape["d_model"], intermediate_size=shape["feedforward"],
            num_hidden_layers=shape["layers"], num_attention_heads=shape["heads"],
            num_key_value_heads=shape["kv_heads"], head_dim=shape["head_dim"], tie_word_embeddings=shape["tied"],
            attn_implementation=shape["attention"], use_cache=False,
            **{name: shape[source] for name, source in extra.items()},
        )  # fmt: skip
        return model(made)

    return build


def _bert(shape: Mapping[str, Any]) -> Any:
    config = transformers.BertConfig(
        vocab_size=shape["vocabulary"], hidden_size=shape["d_model"], num_hidden_layers=shape["layers"],
        num_attention_heads=shape["heads"], intermediate_size=shape["feedforward"], num_labels=shape["classes"] or 2,
        attn_implementation=shape["attention"], max_position_embeddings=512,
    )  # fmt: skip
    return (transformers.BertForSequenceClassification if shape["classes"] else transformers.BertForMaskedLM)(config)


def _t5(shape: Mapping[str, Any]) -> Any:
    config = transformers.T5Config(
        vocab_size=shape["vocabulary"], d_model=shape["d_model"], d_kv=shape["head_dim"], d_ff=shape["feedforward"],
        num_layers=shape["layers"], num_heads=shape["heads"], use_cache=False, attn_implementation=shape["attention"],
        decoder_start_token_id=0, pad_token_id=0,
    )  # fmt: skip
    return transformers.T5ForConditionalGeneration(config)


def _vit(shape: Mapping[str, Any]) -> Any:
    config = transformers.ViTConfig(
        hidden_size=shape["d_model"], num_hidden_layers=shape["layers"], num_attention_heads=shape["heads"],
        intermediate_size=shape["feedforward"], image_size=shape["image"], patch_size=shape["patch"],
        num_labels=shape["classes"], attn_implementation=shape["attention"],
    )  # fmt: skip
    return transformers.ViTForImageClassification(config)


MODELS: dict[str, Callable[[Mapping[str, Any]], Any]] = {
    "gpt": _gpt2,
    "llama": _rotary(transformers.LlamaConfig, transformers.LlamaForCausalLM),
    "mistral": _rotary(transformers.MistralConfig, transformers.MistralForCausalLM),
    "qwen": _rotary(transformers.Qwen2Config, transformers.Qwen2ForCausalLM),
    "gemma": _rotary(transformers.GemmaConfig, transformers.GemmaForCausalLM),
    "moe": _rotary(
        transformers.MixtralConfig, transformers.MixtralForCausalLM,
        num_local_experts="experts", num_experts_per_tok="experts_per_token",
    ),
    "bert": _bert,
    "t5": _t5,
    "vit": _vit,
}  # fmt: skip
