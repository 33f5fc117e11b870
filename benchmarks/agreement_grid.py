"""The grid of training steps on which trace and closed form are compared: families x settings of training.

A configuration is a flat dict of settings that the tracer's child and the closed form both read. It runs nothing.
"""

from __future__ import annotations

from typing import Any

__all__ = ["Config", "grid"]

Config = dict[str, Any]

COMMON: Config = {
    "norm": "layer", "gated": False, "activation": "gelu", "bias": "all", "packed": True, "rotary": False,
    "learned_positions": False, "tied": False, "classes": 0, "experts": 0, "experts_per_token": 0, "patch": 0,
    "image": 0, "inner_dropout": False, "dropout": 0.0, "precision": "fp32", "checkpointing": False,
    "optimizer": "adamw", "attention": "sdpa", "lora": 0, "rows": 4, "library": "plain",
}  # fmt: skip
ROTARY: Config = {"norm": "rms", "gated": True, "activation": "silu", "bias": "none", "packed": False, "rotary": True}

FAMILIES: dict[str, Config] = {
    "gpt": {"kind": "decoder", "learned_positions": True, "tied": True, "dropout": 0.1},
    "llama": {"kind": "decoder", **ROTARY},
    "mistral": {"kind": "decoder", **ROTARY},
    "qwen": {"kind": "decoder", **ROTARY, "bias": "qkv", "tied": True},
    "gemma": {"kind": "decoder", **ROTARY, "activation": "gelu", "tied": True},
    "moe": {"kind": "decoder", **ROTARY},
    "bert": {"kind": "encoder", "packed": True, "dropout": 0.1, "inner_dropout": True},
    "vit": {"kind": "vision"},
    "t5": {"kind": "encoder_decoder", "norm": "rms", "activation": "relu", "bias": "none", "packed": False,
           "tied": True, "dropout": 0.1, "inner_dropout": True, "attention": "eager"},
}  # fmt: skip

Size = tuple[int, int, int, int, int, int, int]
"""Layers, d_model, heads, kv_heads, head_dim, feedforward, vocabulary."""
SMALL: dict[str, tuple[Size, Config]] = {
    "gpt": ((4, 256, 4, 4, 64, 1024, 5000), {"sequence": 256}),
    "llama": ((4, 256, 8, 2, 32, 704, 8000), {"sequence": 256}),
    "mistral": ((6, 320, 10, 5, 32, 1024, 4000), {"sequence": 384}),
    "qwen": ((5, 256, 4, 2, 64, 640, 12_000), {"sequence": 192}),
    "gemma": ((3, 256, 4, 1, 128, 2048, 24_000), {"sequence": 128}),
    "moe": ((4, 256, 8, 4, 32, 512, 6000), {"sequence": 128, "experts": 8, "experts_per_token": 2}),
    "bert": ((4, 256, 4, 4, 64, 1024, 8000), {"sequence": 128, "classes": 4}),
    "vit": ((4, 192, 3, 3, 64, 768, 1), {"sequence": 197, "classes": 100, "patch": 16, "image": 224}),
    "t5": ((3, 256, 4, 4, 64, 1024, 8000), {"sequence": 128}),
}
REAL: dict[str, tuple[str, Size, Config]] = {
    "GPT-2": ("gpt", (12, 768, 12, 12, 64, 3072, 50_257), {"sequence": 1024}),
    "GPT-2 XL": ("gpt", (48, 1600, 25, 25, 64, 6400, 50_257), {"sequence": 1024}),
    "Llama-3.2-1B": ("llama", (16, 2048, 32, 8, 64, 8192, 128_256), {"sequence": 1024, "tied": True}),
    "Llama-3-8B": ("llama", (32, 4096, 32, 8, 128, 14_336, 128_256), {"sequence": 2048}),
    "Mistral-7B": ("mistral", (32, 4096, 32, 8, 128, 14_336, 32_000), {"sequence": 4096}),
    "Qwen2-0.5B": ("qwen", (24, 896, 14, 2, 64, 4864, 151_936), {"sequence": 512}),
    "Gemma-2B": ("gemma", (18, 2048, 8, 1, 256, 16_384, 256_000), {"sequence": 512}),
    "Mixtral (4 layers)": ("moe", (4, 4096, 32, 8, 128, 14_336, 32_000),
                           {"sequence": 1024, "experts": 8, "experts_per_token": 2}),
    "BERT Base": ("bert", (12, 768, 12, 12, 64, 3072, 30_522), {"sequence": 512, "learned_positions": True}),
    "BERT Large": ("bert", (24, 1024, 16, 16, 64, 4096, 30_522), {"sequence": 128, "learned_positions": True,
                                                                  "tied": True}),
    "ViT-B/16": ("vit", (12, 768, 12, 12, 64, 3072, 1), {"sequence": 197, "classes": 1000, "patch": 16, "image": 224}),
    "T5 Base": ("t5", (12, 768, 12, 12, 64, 3072, 32_128), {"sequence": 512}),
}  # fmt: skip

ON_SMALL: tuple[Config, ...] = (
    {"rows": 4},
    {"rows": 64},
    {"rows": 32, "precision": "bf16"},
    {"rows": 1, "precision": "bf16", "optimizer": "adamw_fused"},
    {"rows": 16, "precision": "pure"},
    {"rows": 64, "checkpointing": True},
    {"rows": 96, "checkpointing": True, "precision": "bf16", "optimizer": "sgd"},
    {"rows": 8, "optimizer": "sgd", "dropout": 0.0},
    {"rows": 24, "optimizer": "adamw_fused", "dropout": 0.1},
    {"rows": 16, "attention": "eager"},
    {"rows": 12, "attention": "eager", "precision": "bf16"},
    {"rows": 2, "precision": "pure", "checkpointing": True, "attention": "eager"},
    {"rows": 32, "lora": 8, "precision": "pure"},
    {"rows": 16, "lora": 16, "checkpointing": True},
    {"rows": 6, "sequence": 512, "precision": "bf16"},
    {"rows": 128, "sequence": 64, "tied": True},
)
ON_REAL: tuple[Config, ...] = (
    {"rows": 1},
    {"rows": 8, "precision": "bf16"},
    {"rows": 4, "precision": "pure", "checkpointing": True},
    {"rows": 16, "precision": "pure", "lora": 16, "dropout": 0.0},
)
SLOW = frozenset({"GPT-2 XL", "Llama-3-8B", "Mistral-7B"})
NO_LORA = frozenset({"bert"})
"""torch's encoder layer has no matrix of its own for queries."""


ON_TRANSFORMERS: tuple[Config, ...] = (
    {"rows": 16},
    {"rows": 32, "precision": "bf16"},
    {"rows": 16, "precision": "pure"},
    {"rows": 48, "precision": "bf16", "checkpointing": True},
    {"rows": 4, "precision": "pure", "checkpointing": True, "optimizer": "adamw_fused"},
    {"rows": 8, "attention": "eager", "optimizer": "sgd"},
)


def grid(*, transformers: bool = True) -> list[Config]:
    """Every configuration, of plain modules and of transformers' own."""
    found = plain_grid()
    if transformers:
        for family, (size, extra) in SMALL.items():
            found += [_transformers(_config(f"HF {family}", family, size, extra, one)) for one in ON_TRANSFORMERS]
        for name, (family, size, extra) in REAL.items():
            if name not in SLOW:
                changes = ON_REAL[1:3]
                found += [_transformers(_config(f"HF {name}", family, size, extra, one)) for one in changes]
    return [config for config in found if _makes_sense(config)]


def _transformers(config: Config) -> Config:
    """What their modules are like where that is another thing than the plain ones."""
    given = {"library": "hf", "packed": config["family"] == "gpt"}
    if config["family"] == "t5":
        given |= {"attention": "sdpa"}
    if config["family"] == "bert":
        given |= {"learned_positions": True, "tied": True}
    return config | given


def plain_grid() -> list[Config]:
    """Of the plain modules."""
    found = [_config(family, family, size, extra, change) for family, (size, extra) in SMALL.items()
             for change in ON_SMALL]  # fmt: skip
    for name, (family, size, extra) in REAL.items():
        found += [_config(name, family, size, extra, change) for change in ON_REAL[1 if name in SLOW else 0 :]]
    return found


def _config(name: str, family: str, size: Size, extra: Config, change: Config) -> Config:
    names = ("layers", "d_model", "heads", "kv_heads", "head_dim", "feedforward", "vocabulary")
    dimensions = dict(zip(names, size, strict=True))
    return COMMON | FAMILIES[family] | dimensions | extra | _allowed(family, change) | {"name": name, "family": family}


def _allowed(family: str, change: Config) -> Config:
    fixed = {"vit": {"sequence", "tied"}, "t5": {"attention"}, "bert": {"attention"}}.get(family, set())
    if FAMILIES[family].get("rotary"):
        fixed = {"dropout"}  # these models have none
    return {name: value for name, value in change.items() if name not in fixed}


def _makes_sense(config: Config) -> bool:
    loops = config["library"] == "hf" and config["family"] == "moe" and config["precision"] != "pure"
    return not loops and not (config["lora"] and config["family"] in NO_LORA)
