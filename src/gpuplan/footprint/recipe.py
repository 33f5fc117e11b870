"""How a model is trained, as far as memory is concerned: what is stored in how many bytes, by which kernels.

It holds facts and defaults; it computes nothing of a step and never reads a library's version by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

__all__ = ["OPTIMIZERS", "STORAGE_BYTES", "Optimizer", "OptimizerName", "Recipe", "Storage"]

Storage = Literal["fp32", "bf16", "int8", "nf4", "nf4_dq", "gptq4"]
Method = Literal["full", "lora", "adapter", "adapter_v2", "inference"]
OptimizerName = Literal[
    "adamw", "adamw_fused", "adamw_loop", "adamw_in_backward", "adamw_paged", "adamw_8bit", "adamw_8bit_paged",
    "adamw_8bit_in_backward", "adamw_8bit_paged_in_backward", "adamw_4bit", "adafactor", "sgd", "sgd_momentum", "none",
]  # fmt: skip

STORAGE_BYTES: dict[Storage, float] = {
    "fp32": 4.0, "bf16": 2.0,
    "int8": 1.0,
    "nf4": 0.5 + 4 / 64,
    "nf4_dq": 0.5 + 1 / 64 + 4 / (64 * 256),
    "gptq4": 0.5 + 2.5 / 128,
}  # fmt: skip
"""Bytes of one weight of a matrix. nf4: 4 bits and an fp32 scale for 64 weights, with double quantisation an 8-bit
scale and an fp32 one for 256 of them (bitsandbytes); gptq4: 4 bits, a 16-bit scale and a 4-bit zero for 128."""


GATHERS_UNDER_WAY = 4
"""Layer-sized buffers of an FSDP that frees no frozen shard: 4.0 +- 0.3 on four models (litgpt-0030 to 0039)."""


class Optimizer(NamedTuple):
    """Bytes of states for each byte of trained parameter, or for each parameter; and the temporary of its step.

    `step` is in units of all trained parameters' bytes; `largest` counts copies of the largest tensor in fp32.
    """

    state_ratio: float = 0.0
    state_bytes: float = 0.0
    step: float = 0.0
    largest: float = 0.0
    in_backward: bool = False


OPTIMIZERS: dict[OptimizerName, Optimizer] = {
    "adamw": Optimizer(state_ratio=2, step=1),
    "adamw_fused": Optimizer(state_ratio=2),
    "adamw_loop": Optimizer(state_ratio=2, largest=3),
    "adamw_in_backward": Optimizer(state_ratio=2, in_backward=True),
    "adamw_paged": Optimizer(largest=1),
    "adamw_8bit": Optimizer(state_bytes=2.06, largest=1),
    "adamw_8bit_paged": Optimizer(largest=1),
    "adamw_8bit_in_backward": Optimizer(state_bytes=2.06, in_backward=True),
    "adamw_8bit_paged_in_backward": Optimizer(in_backward=True),
    "adamw_4bit": Optimizer(state_bytes=1.06, largest=1),
    "adafactor": Optimizer(largest=3),
    "sgd": Optimizer(),
    "sgd_momentum": Optimizer(state_ratio=1),
    "none": Optimizer(),
}
"""foreach AdamW: one temporary as large as the parameters (fms-0017: 5 x 2 bytes a parameter, at any small batch).
Paged states are in managed memory, which PyTorch's allocator does not count. 8-bit: a byte a state and scales."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """One way to train one model; the defaults are a full fine-tuning in pure 16-bit precision by current libraries.

    `storage` is that of the layers' matrices, `outside` that of embedding, head and norms. `trained_bytes` is one
    trained parameter's; `compute` an activation's, `inner` one's of the feed-forward's inner width, and `residual`
    an element's of the stream between layers.
    """

    method: Method = "full"
    storage: Storage = "bf16"
    outside: Storage = "bf16"
    trained_bytes: int = 2
    compute: int = 2
    inner: int = 2
    residual: int = 2
    autocast: bool = False
    optimizer: OptimizerName = "adamw"
    rank: int = 16
    targets: tuple[str, ...] = ("q", "k", "v", "o")
    adapter_dropout: bool = True
    checkpointing: bool = False
    offload_activations: bool = False
    accumulation: int = 1
    keeps_gradients: bool = False
    frozen_inputs: bool = False
    packed_qkv: bool = False
    copies_qkv: bool = False
    tied: bool | None = None
    quantised_head: bool = False
    head_copies: bool = True
    gathers_under_way: int = GATHERS_UNDER_WAY
    attention: str = "flash"
    loss: str = "hf_shift_labels"
    norm: str = "stock"
    adapter: str = "peft"
    feedforward: str = "stock"
    world: int = 1
    sharding: Literal["none", "ddp", "fsdp", "zero1", "zero2", "zero3"] = "none"
    reshards: bool = True
    keeps_streams: bool = False
    offload: Literal["none", "optimizer", "parameters"] = "none"
    first_trained_layer: int = 0

    @property
    def low_rank(self) -> bool:
        """Whether only adapters beside frozen matrices are trained."""
        return self.method == "lora"

    @property
    def trains(self) -> bool:
        """Whether there is a backward pass at all."""
        return self.method != "inference"

    @property
    def shards_parameters(self) -> bool:
        """Whether a rank holds a part of every tensor only."""
        return self.world > 1 and self.sharding in {"fsdp", "zero3"}
