"""The reference architectures that the closed form counts, in plain PyTorch, and one training step of each.

Runs in the tracer's child: it imports torch alone, and never gpuplan.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["make_model", "make_step"]

DEVICE = "cuda"
BUCKETS = 32
"""Of T5's relative positions."""
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": functional.relu,
    "gelu": functional.gelu,
    "silu": functional.silu,
}


class Lora(nn.Module):
    """A frozen matrix and a trained product of two narrow ones beside it."""

    def __init__(self, base: nn.Linear, rank: int) -> None:
        super().__init__()
        self.base = base
        self.down = nn.Linear(base.in_features, rank, bias=False)
        self.up = nn.Linear(rank, base.out_features, bias=False)

    def forward(self, hidden: Tensor) -> Tensor:
        return cast("Tensor", self.base(hidden) + 2.0 * self.up(self.down(hidden)))


class Attention(nn.Module):
    """Queries, keys and values from one matrix (GPT, ViT) or three; to itself or to `memory`."""

    def __init__(self, shape: Mapping[str, Any], *, causal: bool) -> None:
        super().__init__()
        width, self.heads, self.kv_heads = shape["d_model"], shape["heads"], shape["kv_heads"]
        self.size, self.causal, self.eager = shape["head_dim"], causal, shape["attention"] == "eager"
        self.sizes = [self.heads * self.size, self.kv_heads * self.size, self.kv_heads * self.size]
        self.packed = shape["packed"]
        inputs_biased = shape["bias"] in {"all", "qkv"}
        outputs = [sum(self.sizes)] if self.packed else self.sizes
        self.projections = nn.ModuleList(nn.Linear(width, size, bias=inputs_biased) for size in outputs)
        self.output = nn.Linear(self.sizes[0], width, bias=shape["bias"] == "all")
        self.rotary, self.dropout = shape["rotary"], shape["dropout"]

    def forward(self, hidden: Tensor, memory: Tensor | None = None, *, bias: Tensor | None = None,
                table: tuple[Tensor, Tensor] | None = None) -> Tensor:  # fmt: skip
        query, key, value = self.project(hidden, hidden if memory is None else memory)
        if table is not None:
            query, key = rotate(query, table), rotate(key, table)
        mix = self.mix_eagerly if self.eager else self.mix
        mixed = mix(query, key, value, bias).transpose(1, 2).reshape(*hidden.shape[:2], -1)
        return cast("Tensor", self.output(mixed))

    def project(self, hidden: Tensor, memory: Tensor) -> list[Tensor]:
        if self.packed:
            parts = self.projections[0](hidden).split(self.sizes, -1)
        else:
            parts = [project(hidden if number == 0 else memory) for number, project in enumerate(self.projections)]
        return [part.view(*part.shape[:2], -1, self.size).transpose(1, 2) for part in parts]

    def mix(self, query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None) -> Tensor:
        dropout = self.dropout if self.training else 0.0
        grouped = self.heads != self.kv_heads
        return functional.scaled_dot_product_attention(
            query, key, value, attn_mask=bias, dropout_p=dropout, is_causal=self.causal, enable_gqa=grouped
        )

    def mix_eagerly(self, query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None) -> Tensor:
        if self.heads != self.kv_heads:
            times = self.heads // self.kv_heads
            key, value = key.repeat_interleave(times, 1), value.repeat_interleave(times, 1)
        scores = query @ key.transpose(2, 3) * self.size**-0.5
        if bias is not None:
            scores = scores + bias
        elif self.causal:
            scores = scores + causal_mask(scores)
        weights = functional.softmax(scores, dim=-1, dtype=torch.float32).to(query.dtype)
        return functional.dropout(weights, self.dropout, self.training) @ value


class Feedforward(nn.Module):
    """Two matrices, or three with a gate."""

    def __init__(self, shape: Mapping[str, Any]) -> None:
        super().__init__()
        width, inner, biased = shape["d_model"], shape["feedforward"], shape["bias"] == "all"
        self.gate = nn.Linear(width, inner, bias=False) if shape["gated"] else None
        self.up, self.down = nn.Linear(width, inner, bias=biased), nn.Linear(inner, width, bias=biased)
        self.activation = ACTIVATIONS[shape["activation"]]
        self.dropout = nn.Dropout(shape["dropout"] if shape["inner_dropout"] else 0.0)

    def forward(self, hidden: Tensor) -> Tensor:
        if self.gate is None:
            inner = self.activation(self.up(hidden))
        else:
            inner = self.activation(self.gate(hidden)) * self.up(hidden)
        return cast("Tensor", self.down(self.dropout(inner)))


class Experts(nn.Module):
    """Gated feed-forwards of which each token passes some; each expert gets its equal share of the tokens."""

    def __init__(self, shape: Mapping[str, Any]) -> None:
        super().__init__()
        width, inner, self.count = shape["d_model"], shape["feedforward"], shape["experts"]
        self.chosen = shape["experts_per_token"]
        self.router = nn.Linear(width, self.count, bias=False)
        self.gate, self.up = (nn.Parameter(torch.empty(self.count, width, inner)) for _ in range(2))
        self.down = nn.Parameter(torch.empty(self.count, inner, width))

    def forward(self, hidden: Tensor) -> Tensor:
        tokens = hidden.reshape(-1, hidden.shape[-1])
        weights, experts = functional.softmax(self.router(tokens), dim=-1).topk(self.chosen, dim=-1)
        order = experts.flatten().argsort()
        source = order // self.chosen
        routed = tokens[source].view(self.count, -1, tokens.shape[-1])
        inner = functional.silu(routed @ self.gate) * (routed @ self.up)
        shares = weights.flatten()[order].unsqueeze(1).to(hidden.dtype)
        outputs = (inner @ self.down).view(-1, tokens.shape[-1]) * shares
        mixed = torch.zeros_like(tokens, dtype=outputs.dtype).index_add(0, source, outputs)
        return mixed.view(hidden.shape)


class Block(nn.Module):
    """One pre-norm layer of GPT, Llama, ViT or T5; `cross` for a decoder that reads an encoder."""

    def __init__(self, shape: Mapping[str, Any], *, causal: bool, cross: bool = False) -> None:
        super().__init__()
        self.norms = nn.ModuleList(norm_of(shape) for _ in range(3 if cross else 2))
        self.attention = Attention(shape, causal=causal)
        self.cross = Attention(shape, causal=False) if cross else None
        self.feedforward = Experts(shape) if shape["experts"] else Feedforward(shape)
        self.dropout = nn.Dropout(shape["dropout"])

    def forward(self, hidden: Tensor, memory: Tensor | None = None, bias: Tensor | None = None,
                table: tuple[Tensor, Tensor] | None = None) -> Tensor:  # fmt: skip
        hidden = hidden + self.dropout(self.attention(self.norms[0](hidden), bias=bias, table=table))
        if self.cross is not None:
            hidden = hidden + self.dropout(self.cross(self.norms[1](hidden), memory))
        return cast("Tensor", hidden + self.dropout(self.feedforward(self.norms[-1](hidden))))


class Stack(nn.Module):
    """Layers, each recomputed in the backward pass if activations are checkpointed."""

    def __init__(self, blocks: list[nn.Module], *, checkpointing: bool) -> None:
        super().__init__()
        self.blocks, self.checkpointing = nn.ModuleList(blocks), checkpointing

    def forward(self, hidden: Tensor, *others: object) -> Tensor:
        for block in self.blocks:
            if self.checkpointing:
                hidden = cast("Tensor", checkpoint(block, hidden, *others, use_reentrant=False))
            else:
                hidden = block(hidden, *others)
        return hidden


class Decoder(nn.Module):
    """GPT or Llama: embedding, layers, a final norm and a head over the vocabulary or the last token's classes."""

    def __init__(self, shape: Mapping[str, Any]) -> None:
        super().__init__()
        width, outputs = shape["d_model"], shape["classes"] or shape["vocabulary"]
        self.classes, self.rotary, self.size = shape["classes"], shape["rotary"], shape["head_dim"]
        self.embedding = nn.Embedding(shape["vocabulary"], width)
        self.positions = nn.Embedding(shape["sequence"], width) if shape["learned_positions"] else None
        self.dropout = nn.Dropout(shape["dropout"])
        blocks: list[nn.Module] = [Block(shape, causal=True) for _ in range(shape["layers"])]
        self.stack = Stack(blocks, checkpointing=shape["checkpointing"])
        self.norm, self.head = norm_of(shape), nn.Linear(width, outputs, bias=False)
        if shape["tied"] and not self.classes:
            self.head.weight = self.embedding.weight

    def forward(self, ids: Tensor) -> Tensor:
        hidden = self.embedding(ids)
        if self.positions is not None:
            hidden = self.dropout(hidden + self.positions(torch.arange(ids.shape[1], device=ids.device)))
        table = rotary_table(ids.shape[1], self.size, hidden) if self.rotary else None
        hidden = self.norm(self.stack(hidden, None, None, table))
        return cast("Tensor", self.head(hidden[:, -1] if self.classes else hidden))


class Encoder(nn.Module):
    """torch's own encoder layers; the mean over all positions for a classifier, else a head on every position."""

    def __init__(self, shape: Mapping[str, Any]) -> None:
        super().__init__()
        width, self.classes = shape["d_model"], shape["classes"]
        layers: list[nn.Module] = [
            nn.TransformerEncoderLayer(
                width, shape["heads"], shape["feedforward"], shape["dropout"],
                activation=ACTIVATIONS[shape["activation"]], batch_first=True,
            )
            for _ in range(shape["layers"])
        ]  # fmt: skip
        self.embedding = nn.Embedding(shape["vocabulary"], width)
        self.positions = nn.Embedding(shape["sequence"], width) if shape["learned_positions"] else None
        if self.positions is None:
            self.register_buffer("table", torch.zeros(shape["sequence"], width))
        self.stack = Stack(layers, checkpointing=shape["checkpointing"])
        self.head = nn.Linear(width, self.classes or shape["vocabulary"], bias=bool(self.classes))
        if shape["tied"] and not self.classes:
            self.head.weight = self.embedding.weight

    def forward(self, ids: Tensor) -> Tensor:
        if self.positions is not None:
            positions = self.positions(torch.arange(ids.shape[1], device=ids.device))
        else:
            positions = cast("Tensor", self.table)
        hidden = self.stack(self.embedding(ids) + positions)
        return cast("Tensor", self.head(hidden.mean(1) if self.classes else hidden))


class Vision(nn.Module):
    """ViT: patches through a convolution, a class token before them, and a head on that token."""

    def __init__(self, shape: Mapping[str, Any]) -> None:
        super().__init__()
        width, patch = shape["d_model"], shape["patch"]
        self.patches = nn.Conv2d(3, width, patch, patch)
        self.token = nn.Parameter(torch.empty(1, 1, width))
        self.positions = nn.Parameter(torch.empty(1, (shape["image"] // patch) ** 2 + 1, width))
        self.dropout = nn.Dropout(shape["dropout"])
        blocks: list[nn.Module] = [Block(shape, causal=False) for _ in range(shape["layers"])]
        self.stack = Stack(blocks, checkpointing=shape["checkpointing"])
        self.norm, self.head = norm_of(shape), nn.Linear(width, shape["classes"])

    def forward(self, images: Tensor) -> Tensor:
        patches = self.patches(images).flatten(2).transpose(1, 2)
        hidden = torch.cat([self.token.expand(len(images), -1, -1), patches], dim=1)
        hidden = self.norm(self.stack(self.dropout(hidden + self.positions)))
        return cast("Tensor", self.head(hidden[:, 0]))


class EncoderDecoder(nn.Module):
    """T5: relative positions as a bias on the scores of self-attention, no bias in attention to the encoder."""

    def __init__(self, shape: Mapping[str, Any]) -> None:
        super().__init__()
        layers = range(shape["layers"])
        self.embedding = nn.Embedding(shape["vocabulary"], shape["d_model"])
        self.relative = nn.ModuleList(nn.Embedding(BUCKETS, shape["heads"]) for _ in range(2))
        self.stacks = nn.ModuleList(
            [
                Stack([Block(shape, causal=False) for _ in layers], checkpointing=shape["checkpointing"]),
                Stack([Block(shape, causal=True, cross=True) for _ in layers], checkpointing=shape["checkpointing"]),
            ]
        )
        self.norms = nn.ModuleList(norm_of(shape) for _ in range(2))
        self.dropout = nn.Dropout(shape["dropout"])
        self.head = nn.Linear(shape["d_model"], shape["vocabulary"], bias=False)
        if shape["tied"]:
            self.head.weight = self.embedding.weight

    def forward(self, ids: Tensor) -> Tensor:
        memory = self.encode(ids, 0, None)
        return cast("Tensor", self.head(self.encode(ids, 1, memory)))

    def encode(self, ids: Tensor, number: int, memory: Tensor | None) -> Tensor:
        hidden = self.dropout(self.embedding(ids))
        bias = self.bias(ids, number)
        return cast("Tensor", self.dropout(self.norms[number](self.stacks[number](hidden, memory, bias))))

    def bias(self, ids: Tensor, number: int) -> Tensor:
        positions = torch.arange(ids.shape[1], device=ids.device)
        distances = (positions[None, :] - positions[:, None]).clamp(0, BUCKETS - 1)
        return cast("Tensor", self.relative[number](distances).permute(2, 0, 1).unsqueeze(0))


def norm_of(shape: Mapping[str, Any]) -> nn.Module:
    width = shape["d_model"]
    return nn.RMSNorm(width, eps=1e-6) if shape["norm"] == "rms" else nn.LayerNorm(width)


def rotary_table(length: int, size: int, like: Tensor) -> tuple[Tensor, Tensor]:
    frequencies = 10_000.0 ** (-torch.arange(0, size, 2, device=like.device).float() / size)
    angles = torch.outer(torch.arange(length, device=like.device).float(), frequencies)
    both = torch.cat([angles, angles], dim=-1)
    return both.cos().to(like.dtype), both.sin().to(like.dtype)


def rotate(tensor: Tensor, table: tuple[Tensor, Tensor]) -> Tensor:
    first, second = tensor.chunk(2, dim=-1)
    return tensor * table[0] + torch.cat([-second, first], dim=-1) * table[1]


def causal_mask(scores: Tensor) -> Tensor:
    return torch.full(scores.shape[-2:], -math.inf, dtype=scores.dtype, device=scores.device).triu(1)


KINDS: dict[str, type[nn.Module]] = {
    "decoder": Decoder, "encoder": Encoder, "vision": Vision, "encoder_decoder": EncoderDecoder,
}  # fmt: skip


def make_model(shape: Mapping[str, Any]) -> nn.Module:
    """The model of `shape`; in low-rank training only adapters on the attention's matrices require gradients."""
    model = KINDS[shape["kind"]](shape)
    if shape["lora"]:
        model.requires_grad_(requires_grad=False)
        for module in [module for module in model.modules() if isinstance(module, Attention)]:
            targets = enumerate(module.projections)
            module.projections = nn.ModuleList(
                Lora(cast("nn.Linear", matrix), shape["lora"]) if number in {0, 2} else matrix
                for number, matrix in targets
            )
    return model


def make_step(shape: dict[str, Any]) -> Callable[[], None]:
    """One training step of `shape`, for the tracer."""
    model = make_model(shape).to(DEVICE)
    if shape["precision"] == "pure":
        model.to(torch.bfloat16)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = optimizer_of(shape, trained)
    batch = batch_of(shape)

    def step() -> None:
        inputs, labels = batch()
        with torch.autocast(DEVICE, dtype=torch.bfloat16, enabled=shape["precision"] == "bf16"):
            logits = model(inputs)
            loss = functional.cross_entropy(logits.view(-1, logits.shape[-1]), labels.view(-1))
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()

    return step


def optimizer_of(shape: Mapping[str, Any], trained: list[nn.Parameter]) -> torch.optim.Optimizer:
    if shape["optimizer"] == "sgd":
        return torch.optim.SGD(trained, lr=0.1)
    return torch.optim.AdamW(trained, fused=True if shape["optimizer"] == "adamw_fused" else None)


def batch_of(shape: Mapping[str, Any]) -> Callable[[], tuple[Tensor, Tensor]]:
    rows, length, classes = shape["rows"], shape["sequence"], shape["classes"]

    def batch() -> tuple[Tensor, Tensor]:
        if shape["kind"] == "vision":
            dtype = torch.bfloat16 if shape["precision"] == "pure" else torch.float32
            images = torch.randn(rows, 3, shape["image"], shape["image"], dtype=dtype, device=DEVICE)
            return images, torch.randint(classes, (rows,), device=DEVICE)
        ids = torch.randint(shape["vocabulary"], (rows, length), device=DEVICE)
        labels = torch.randint(classes, (rows,), device=DEVICE) if classes else torch.randint_like(ids, 2)
        return ids, labels

    return batch
