"""The training step of each kind of transformer, written as its PyTorch modules are, on a tape of sizes.

`benchmarks/agreement_models.py` holds the same models in PyTorch. It knows no precision: the kit of operators does.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from gpuplan.footprint.blocks import JOIN_OF_HEADS, Heads
from gpuplan.footprint.layers import checkpointed, run_layers
from gpuplan.footprint.parameters import RELATIVE_BUCKETS

if TYPE_CHECKING:
    from collections.abc import Callable

    from gpuplan.footprint.blocks import Kit
    from gpuplan.footprint.dimensions import Dimensions
    from gpuplan.footprint.tape import Tensor, Weight

__all__ = ["Program"]


class Program:
    """The forward pass of one model; methods are its modules."""

    def __init__(self, kit: Kit, shape: Dimensions) -> None:
        self.kit, self.shape = kit, shape
        self.library = shape.modules == "transformers"

    def logits(self) -> Tensor:
        """The output of one forward pass."""
        kinds = {"decoder": self._decoder, "encoder": self._encoder, "vision": self._vision}
        return kinds.get(self.shape.kind, self._encoder_decoder)()

    # ------------------------------------------------------------ models

    def _decoder(self) -> Tensor:
        kit, shape = self.kit, self.shape
        table = kit.parameter(shape.vocabulary * shape.d_model)
        hidden = kit.embed(table, self._width)
        if shape.learned_positions:
            hidden = kit.dropout(kit.add(hidden, kit.positions(shape.sequence * shape.d_model)))
        hidden = self._norm(self._stack(hidden, partial(self._block, causal=True)))
        return self._head(hidden, table if shape.tied and not shape.classes else None)

    def _encoder(self) -> Tensor:
        kit, shape = self.kit, self.shape
        table = kit.parameter(shape.vocabulary * shape.d_model)
        hidden = kit.embed(table, self._width)
        if shape.learned_positions:
            hidden = kit.add(hidden, kit.positions(shape.sequence * shape.d_model))
        else:
            hidden = kit.scale(hidden)
        if self.library:
            return self._bert_head(self._stack(kit.dropout(self._norm(hidden)), self._bert_block), table)
        hidden = self._stack(hidden, self._post_norm_block)
        if shape.classes:
            hidden = kit.select(hidden, shape.d_model)
        return self._head(hidden, table if shape.tied and not shape.classes else None, sliced=True)

    def _vision(self) -> Tensor:
        kit, shape = self.kit, self.shape
        patches = kit.patches(shape.patch, shape.image, shape.d_model)
        hidden = kit.join_token(patches, self._width)
        del patches
        hidden = kit.dropout(kit.add(hidden, kit.positions(self._width)))
        hidden = self._norm(self._stack(hidden, partial(self._block, causal=False)))
        return self._head(hidden, None)

    def _encoder_decoder(self) -> Tensor:
        kit, shape = self.kit, self.shape
        table = kit.parameter(shape.vocabulary * shape.d_model)
        memory = self._half(table, partial(self._block, causal=False))
        memory.share()
        hidden = self._half(table, partial(self._block, causal=True, memory=memory))
        return self._head(hidden, table if shape.tied else None)

    def _half(self, table: Weight, block: partial[Tensor]) -> Tensor:
        kit, shape = self.kit, self.shape
        hidden = kit.dropout(kit.embed(table, self._width))
        bias = kit.relative_bias(RELATIVE_BUCKETS, shape.heads, shape.sequence)
        return kit.dropout(self._norm(self._stack(hidden, partial(block, bias=bias))))

    def _head(self, hidden: Tensor, tied: Weight | None, *, sliced: bool = False) -> Tensor:
        kit, shape = self.kit, self.shape
        if shape.classes and not sliced:
            hidden = kit.select(hidden, shape.d_model)
        weight = tied or kit.parameter(shape.outputs * shape.d_model)
        return kit.linear(hidden, weight, shape.outputs * shape.predictions, component="logits")

    def _bert_head(self, hidden: Tensor, table: Weight) -> Tensor:
        """A pooler before classes, or a transformation of every position before the vocabulary."""
        kit, shape = self.kit, self.shape
        if shape.classes:
            hidden = self._dense(kit.select(hidden, shape.d_model), "tanh")
            return self._head(kit.dropout(hidden), None, sliced=True)
        return self._head(self._norm(self._dense(hidden, "gelu")), table)

    def _dense(self, x: Tensor, activation: str) -> Tensor:
        kit, width = self.kit, self.shape.d_model
        return kit.activate(kit.linear(x, kit.parameter(width * width), x.slope, bias=kit.parameter(width)), activation)

    # ------------------------------------------------------------ layers

    def _stack(self, hidden: Tensor, block: Callable[[Tensor], Tensor]) -> Tensor:
        run = partial(checkpointed, self.kit, block) if self.shape.checkpointing else block
        return run_layers(self.kit, run, hidden, self.shape.layers)

    def _block(
        self, hidden: Tensor, *, causal: bool, memory: Tensor | None = None, bias: Tensor | None = None
    ) -> Tensor:
        kit = self.kit
        if self.shape.parallel:
            return self._parallel_block(hidden)
        mixed = self._attention(self._norm(hidden), None, causal=causal, bias=bias)
        hidden = kit.add(hidden, kit.dropout(self._norm(mixed) if self.shape.norms == 4 else mixed))
        del mixed
        if memory is not None:
            mixed = self._attention(self._norm(hidden), memory, causal=False, bias=None)
            hidden = kit.add(hidden, kit.dropout(mixed))
            del mixed
        feedforward = self._experts if self.shape.experts else self._feedforward
        mixed = feedforward(self._norm(hidden))
        return kit.add(hidden, kit.dropout(self._norm(mixed) if self.shape.norms == 4 else mixed))

    def _parallel_block(self, hidden: Tensor) -> Tensor:
        """Attention and feed-forward beside each other (GPT-NeoX, Falcon, Phi), from one norm or from two."""
        kit = self.kit
        normed = self._norm(hidden)
        mixed = kit.dropout(self._attention(normed, None, causal=True, bias=None))
        if self.shape.norms > 1:
            normed = self._norm(hidden)
        return kit.add(hidden, kit.add(mixed, kit.dropout(self._feedforward(normed))))

    def _post_norm_block(self, hidden: Tensor) -> Tensor:
        """torch.nn.TransformerEncoderLayer."""
        kit, shape = self.kit, self.shape
        heads = Heads(shape.heads, shape.heads, shape.head_dim, shape.tokens, shape.tokens)
        weight, bias = kit.parameter(3 * shape.d_model**2), kit.parameter(3 * shape.d_model)
        packed = kit.linear(hidden, weight, 3 * self._width, bias=bias)
        kit.tape.sweep((packed,) * JOIN_OF_HEADS[0], JOIN_OF_HEADS[1])
        kit.tape.sweep((hidden,) * 4, 2)  # copied with its tokens before its rows, and back
        query, key, value = kit.split(kit.scale(packed), (self._width,) * 3)
        del packed
        mixed = self._matrix(kit.attend(query, key, value, heads, length_first=True), self._width, "o")
        del query, key, value
        hidden = self._norm(kit.add(hidden, kit.dropout(mixed)))
        del mixed
        return self._norm(kit.add(hidden, kit.dropout(self._feedforward(hidden))))

    def _bert_block(self, hidden: Tensor) -> Tensor:
        """The layer of BERT in transformers."""
        kit = self.kit
        hidden = self._norm(kit.add(kit.dropout(self._attention(hidden, None, causal=False, bias=None)), hidden))
        return self._norm(kit.add(kit.dropout(self._feedforward(hidden)), hidden))

    def _norm(self, hidden: Tensor) -> Tensor:
        kit, width = self.kit, self.shape.d_model
        if self.shape.norm == "rms" and self.library and self.shape.activation != "gelu":
            narrow = self.shape.kind == "encoder_decoder"
            return kit.rms_norm_of_transformers(hidden, kit.parameter(width), self.shape.tokens, narrow=narrow)
        if self.shape.norm == "rms":
            return kit.rms_norm(hidden, (kit.parameter(width),), self.shape.tokens)
        return kit.layer_norm(hidden, (kit.parameter(width), kit.parameter(width)), self.shape.tokens)

    def _attention(self, hidden: Tensor, memory: Tensor | None, *, causal: bool, bias: Tensor | None) -> Tensor:
        kit, shape = self.kit, self.shape
        heads = Heads(shape.heads, shape.kv_heads, shape.head_dim, shape.tokens, shape.tokens)
        query, key, value = self._queries_keys_values(hidden, hidden if memory is None else memory)
        if shape.rotary:
            query, key = kit.rotate(query), kit.rotate(key)
        if shape.attention == "eager":
            mixed = kit.attend_eagerly(query, key, value, heads, causal=causal, bias=bias)
        else:
            mixed = kit.attend(query, key, value, heads, bias=None if bias is None else self._mask(bias, causal=causal))
        return self._matrix(mixed, self._width, "o")

    def _mask(self, bias: Tensor, *, causal: bool) -> Tensor:
        """T5's bias as a mask of numbers, where the future is hidden too in a tensor of its own for each layer."""
        return self.kit.tape.make((bias,), 0.0, bias.size, fixed=bias.fixed) if causal else bias

    def _queries_keys_values(self, hidden: Tensor, source: Tensor) -> list[Tensor]:
        shape = self.shape
        sizes = [shape.tokens * width for width in (shape.query_width, shape.kv_width, shape.kv_width)]
        if shape.packed:
            return self.kit.split(self._matrix(hidden, sum(sizes), "q"), tuple(sizes))
        inputs = (hidden, source, source)
        return [self._matrix(x, size, name) for x, size, name in zip(inputs, sizes, "qkv", strict=True)]

    def _matrix(self, x: Tensor, slope: float, name: str) -> Tensor:
        """A matrix of a layer, with an adapter beside it if it has one."""
        kit, shape = self.kit, self.shape
        inputs, outputs = x.slope / shape.tokens, slope / shape.tokens
        biased = shape.bias == "all" or (shape.bias == "qkv" and name in "qkv")
        weight = kit.parameter(inputs * outputs)
        if name not in shape.targets:
            return kit.linear(x, weight, slope, bias=kit.parameter(outputs) if biased else None)
        made = kit.linear(x, weight, slope)
        down = kit.linear(x, kit.parameter(inputs * shape.rank, trained=True), shape.rank * shape.tokens)
        up = kit.linear(down, kit.parameter(outputs * shape.rank, trained=True), slope)
        return kit.add(made, kit.scale(up))

    def _feedforward(self, hidden: Tensor) -> Tensor:
        kit, shape = self.kit, self.shape
        slope = shape.feedforward * shape.tokens
        if shape.gated:
            inner = kit.multiply(
                kit.activate(self._matrix(hidden, slope, "gate"), shape.activation), self._matrix(hidden, slope, "up")
            )
        else:
            inner = self._matrix(hidden, slope, "up")
            composed = self.library and shape.kind == "decoder" and shape.activation == "gelu"
            inner = kit.gelu_of_gpt2(inner) if composed else kit.activate(inner, shape.activation)
        return self._matrix(kit.dropout(inner, applies=shape.inner_dropout), self._width, "down")

    def _experts(self, hidden: Tensor) -> Tensor:
        """Each token passes some of the experts; each expert has its equal share of the tokens."""
        kit, shape = self.kit, self.shape
        count, chosen = shape.experts, shape.experts_per_token
        matrix = count * shape.d_model * shape.feedforward
        routes, inner = chosen * shape.tokens, chosen * shape.tokens * shape.feedforward
        weights = kit.route(hidden, kit.parameter(shape.d_model * count), count * shape.tokens, routes)
        order = kit.tape.hold("activations", slope=8.0 * routes)
        source = kit.tape.hold("activations", slope=8.0 * routes)
        routed = kit.gather(hidden, routes * shape.d_model, source)
        activated = kit.multiply(
            kit.activate(kit.matmul(routed, kit.parameter(matrix), inner), "silu"),
            kit.matmul(routed, kit.parameter(matrix), inner),
        )
        outputs = kit.matmul(activated, kit.parameter(matrix), routes * shape.d_model)
        outputs = kit.multiply(outputs, kit.cast(kit.gather(weights, routes, order), hidden.size))
        return kit.scatter(outputs, self._width, source)

    @property
    def _width(self) -> float:
        return float(self.shape.d_model * self.shape.tokens)
