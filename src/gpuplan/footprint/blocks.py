"""The operators that transformers are made of, as PyTorch runs them on a tape of sizes. It knows no whole model.

What each saves is what its autograd node saves (torch 2.13, derivatives.yaml); what autocast casts is on its lists.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gpuplan.footprint.tape import Node, Tape, Tensor, Weight, Work, give, gradient_of, make_gradients

if TYPE_CHECKING:
    from gpuplan.footprint.operators import Runtime
    from gpuplan.footprint.tape import Storage

__all__ = ["JOIN_OF_HEADS", "Heads", "Kit"]

FLASH_ROWS, FLASH_WIDTH = 128, 32
"""FlashAttention 2 rounds lengths and head widths of its fp32 sums up to these (mha_bwd of flash_api.cpp)."""
EFFICIENT_ROWS = 32
"""The log-sum-exp of the memory-efficient kernel is padded to this many rows."""
WIDEST_HEAD = 256
ROOT_FORWARD, ROOT_BACKWARD = (3, 4), (10, 9)
"""Sweeps over the input, and kernels, of an RMSNorm beyond its two products: power, mean, sum and root, and the
gradients of each."""
JOIN_OF_HEADS = (8, 5)
"""The same of the gradients of three parts that nn.MultiheadAttention selects one by one, beyond joining them."""


class Heads(NamedTuple):
    """Attention's shape: heads of queries, of keys and values, the width of one, and the lengths of both."""

    queries: int
    keys: int
    width: int
    length: int
    source: int

    @property
    def scores(self) -> float:
        """Of one row."""
        return float(self.queries * self.length * self.source)


class Kit:
    """The operators in one precision: weights of `weight` bytes, autocast to 16 bits or not, dropout or not."""

    def __init__(
        self, tape: Tape, *,
        weight: int, autocast: bool, dropout: bool, runtime: Runtime, trained: bool, checkpointing: bool,
    ) -> None:  # fmt: skip
        self.tape, self.weight, self.autocast, self.trained = tape, weight, autocast, trained
        self.drops, self.runtime, self.checkpointing = dropout, runtime, checkpointing
        self.casts: dict[int, tuple[Weight, Tensor]] = {}
        self.kept: list[Storage] = []
        self.leaves: list[Node | None] = []

    @property
    def compute(self) -> int:
        """Bytes of what a matrix product takes."""
        return 2 if self.autocast else self.weight

    def parameter(self, elements: float, *, trained: bool | None = None) -> Weight:
        """A weight of the model; its gradient lives as long as the kit."""
        made = Weight(elements, self.weight, trained=self.trained if trained is None else trained)
        self.leaves.append(made.node)
        return made

    def cast(self, tensor: Tensor, size: int) -> Tensor:
        """`tensor` in `size` bytes; a weight's cast is kept until autocast ends."""
        if tensor.size == size:
            return tensor
        if not isinstance(tensor, Weight):
            return self.tape.make((tensor,), tensor.slope, size, fixed=tensor.fixed)
        if id(tensor) not in self.casts:  # the weight is kept with its cast, so that its id stays its own
            made = self.tape.make((tensor,), 0.0, size, fixed=tensor.fixed, component="casts")
            self.casts[id(tensor)] = tensor, made
        return self.casts[id(tensor)][1]

    def lower(self, tensor: Tensor) -> Tensor:
        """`tensor` as autocast hands it to a matrix product."""
        return self.cast(tensor, 2) if self.autocast else tensor

    def full(self, tensor: Tensor) -> Tensor:
        """`tensor` as autocast hands it to a norm."""
        return self.cast(tensor, 4) if self.autocast else tensor

    def end_autocast(self) -> None:
        """Casts that nothing saved go."""
        self.casts.clear()
        self.kept.clear()

    # ------------------------------------------------------------ matrices

    def linear(
        self, x: Tensor, weight: Weight, slope: float, *, bias: Weight | None = None, component: str = "activations"
    ) -> Tensor:
        """A product that saves x for the weight's gradient, and the weight for that of x."""
        x, cast = self.lower(x), self.lower(weight)
        saved = (x.storage if cast.node else None, cast.storage if x.node else None)
        inputs = (x, cast) if bias is None else (x, cast, bias)
        made = self.tape.make(inputs, slope, self.compute, saved=saved, component=component, kernels=0)
        if bias is not None and bias.node is not None:
            self.tape.sweep((made,))  # its gradient is a sum
        return made

    def matmul(self, x: Tensor, y: Tensor, slope: float) -> Tensor:
        """The product of two activations, or of one with the weights of all experts."""
        return self._product(self.lower(x), self.lower(y), slope)

    def _product(self, x: Tensor, y: Tensor, slope: float) -> Tensor:
        saved = (x.storage if y.node else None, y.storage if x.node else None)
        return self.tape.make((x, y), slope, x.size, saved=saved, kernels=0)

    # ------------------------------------------------------------ elementwise

    def layer_norm(self, x: Tensor, weights: tuple[Weight, ...], rows: float) -> Tensor:
        """Saves its input, and mean and deviation of each token."""
        x = self.full(x)
        statistics = self.tape.hold("activations", slope=8.0 * rows)
        return self.tape.make((x, *weights), x.slope, x.size, saved=(x.storage, statistics))

    def rms_norm(self, x: Tensor, weights: tuple[Weight, ...], rows: float) -> Tensor:
        """PyTorch's composition: saves input and normalised values in fp32, and a root a token."""
        size = self.full(x).size
        wide = self.cast(x, 4)
        self._take_root(wide)
        root = self.tape.hold("activations", slope=4.0 * rows)
        normal = self.tape.make((wide,), x.slope, 4, saved=(wide.storage, root), work=Work(slope=8.0 * x.slope))
        weight = weights[0]
        saved = (normal.storage if weight.node else None,)
        return self.cast(self.tape.make((normal, weight), x.slope, 4, saved=saved), size)

    def _take_root(self, wide: Tensor) -> None:
        """Count the kernels of a norm that are not run here one by one."""
        self.tape.sweep((wide,) * ROOT_FORWARD[0], ROOT_FORWARD[1])
        if self.tape.recording and wide.node is not None:
            self.tape.sweep((wide,) * ROOT_BACKWARD[0], ROOT_BACKWARD[1])

    def rms_norm_of_transformers(self, x: Tensor, weight: Weight, rows: float, *, narrow: bool) -> Tensor:
        """As Llama's in transformers: the normalised values are cast back before the weight is applied.

        `narrow`: T5 multiplies its input as it is, not the copy in fp32.
        """
        wide = self.cast(x, 4)
        self._take_root(wide)
        squares = self.tape.make((wide,), x.slope, 4, saved=(wide.storage,), kernels=0)
        root = self.tape.hold("activations", slope=4.0 * rows)
        normal = self.tape.make((x if narrow else wide,), x.slope, 4, saved=((x if narrow else wide).storage, root))
        del squares
        normal = self.cast(normal, x.size)
        saved = (normal.storage if weight.node else None,)
        return self.tape.make((normal, weight), x.slope, max(x.size, weight.size), saved=saved)

    def gelu_of_gpt2(self, x: Tensor) -> Tensor:
        """As "gelu_new" of transformers: its product, power, tanh and sum are operators of their own."""
        half, wide = self.scale(x), self.full(x)  # autocast takes powers in fp32
        cube = self.tape.make((wide,), x.slope, wide.size, saved=(wide.storage,))
        tanh = self.tape.make((self.scale(self.add(x, self.scale(cube))),), x.slope, wide.size, keeps_output=True)
        return self.multiply(half, self.scale(tanh))

    def activate(self, x: Tensor, name: str) -> Tensor:
        """ReLU and tanh keep their output, the others their input."""
        if name in {"relu", "tanh"}:
            return self.tape.make((x,), x.slope, x.size, keeps_output=True)
        return self.tape.make((x,), x.slope, x.size, saved=(x.storage,))

    def multiply(self, x: Tensor, y: Tensor) -> Tensor:
        """Both are saved."""
        return self.tape.make((x, y), x.slope, max(x.size, y.size), saved=(x.storage, y.storage))

    def scale(self, x: Tensor) -> Tensor:
        """Times a number: a new tensor, and nothing saved."""
        return self.tape.make((x,), x.slope, x.size)

    def add(self, x: Tensor, y: Tensor) -> Tensor:
        """The gradient of the sum is both terms'; one of the narrower type is cast."""
        size = max(x.size, y.size)
        return self.tape.make((x, y), x.slope or y.slope, size, rule=cast_back)

    def dropout(self, x: Tensor, *, applies: bool = True) -> Tensor:
        """Saves a mask: a byte an element on a GPU, a whole number on a CPU."""
        if not (self.drops and applies):
            return x
        mask = self.tape.hold("activations", slope=x.slope * (1 if self.runtime == "gpu" else x.size))
        return self.tape.make((x,), x.slope, x.size, saved=(mask,))

    # ------------------------------------------------------------ attention

    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, heads: Heads, *,
        length_first: bool = False, bias: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        """`scaled_dot_product_attention` by the kernel that PyTorch picks, and its output as a matrix reads it.

        `length_first`: nn.MultiheadAttention lays tokens before rows, which flash attention keeps and others do not.
        """
        query, key, value = self.lower(query), self.lower(key), self.lower(value)
        kernel = self._kernel(heads, biased=bias is not None)
        if kernel == "math":
            return self._math(query, key, value, heads, length_first=length_first)
        rows = heads.queries * heads.length
        lse = -(-heads.length // EFFICIENT_ROWS) * EFFICIENT_ROWS * heads.queries if kernel == "efficient" else rows
        saved = (query.storage, key.storage, value.storage, self.tape.hold("activations", slope=4.0 * lse))
        inputs = (query, key, value)
        if bias is not None:
            saved, inputs = (*saved, bias.storage), (*inputs, bias)  # type: ignore[assignment]
        mixed = self.tape.make(
            inputs, rows * heads.width, query.size, saved=saved, keeps_output=True,
            work=self._work(kernel, heads, query.size), kernels=0,
        )  # fmt: skip
        return self.scale(mixed) if kernel == "efficient" and length_first else mixed

    def _kernel(self, heads: Heads, *, biased: bool) -> str:
        if self.runtime == "cpu":
            return "math" if self.drops else "cpu"
        if self.compute == 2 and heads.width <= WIDEST_HEAD and not biased:
            return "flash"
        return "efficient" if heads.queries == heads.keys and heads.width % 4 == 0 else "math"

    def _work(self, kernel: str, heads: Heads, size: int) -> Work:
        rows = heads.queries * heads.length
        if kernel == "flash":
            padded = heads.queries * (-(-heads.length // FLASH_ROWS) * FLASH_ROWS)
            sums = 4.0 * padded * (-(-heads.width // FLASH_WIDTH) * FLASH_WIDTH + 1)
            shared = 2 * size * heads.source * heads.queries * heads.width if heads.queries != heads.keys else 0
            return Work(slope=sums + shared)
        if kernel == "efficient":
            return Work(slope=4.0 * rows + (4.0 * rows * heads.width if size == 2 else 0.0))
        return Work()

    def _math(self, query: Tensor, key: Tensor, value: Tensor, heads: Heads, *, length_first: bool) -> Tensor:
        """PyTorch's composition in fp32: all scores at once, scaled queries and keys, shared heads written out."""
        size = query.size
        query, key, value = (self.cast(tensor, 4) for tensor in (query, key, value))
        if heads.queries != heads.keys:
            key, value = self._repeat(key, heads), self._repeat(value, heads)
        elif size == 4 and not length_first:
            value = self.scale(value)
        scores = self._product(self.scale(query), self.scale(key), heads.scores)
        weights = self.tape.make((scores,), heads.scores, 4, keeps_output=True)
        del scores
        mixed = self._product(self.dropout(weights), value, heads.queries * heads.length * heads.width)
        return self.scale(self.cast(mixed, size))

    def attend_eagerly(
        self, query: Tensor, key: Tensor, value: Tensor, heads: Heads, *, causal: bool, bias: Tensor | None = None
    ) -> Tensor:
        """Scores, a softmax in fp32, dropout and the mix, each an operator of its own; products copy their inputs."""
        if heads.queries != heads.keys:
            key, value = self._repeat(key, heads), self._repeat(value, heads)
        size = query.size
        query, key = self.scale(self.lower(query)), self.scale(self.lower(key))
        scores = self.scale(self.matmul(query, key, heads.scores))
        if bias is not None:
            scores = self.add(scores, bias)
        elif causal:
            scores = self.scale(scores)
        weights = self.tape.make((scores,), heads.scores, 4, keeps_output=True)
        weights = self.cast(weights, size)
        value = self.scale(self.lower(value))
        mixed = self.matmul(self.dropout(weights), value, heads.queries * heads.length * heads.width)
        return self.scale(mixed)

    def _repeat(self, x: Tensor, heads: Heads) -> Tensor:
        """Keys or values of shared heads, once for each head that shares them."""
        return self.tape.make((x,), heads.queries * heads.source * heads.width, x.size)

    # ------------------------------------------------------------ whole parts

    def split(self, x: Tensor, slopes: tuple[float, ...]) -> list[Tensor]:
        """Views of one tensor side by side; their gradients are joined into one as large as it."""
        joint = self.tape.view(x, rule=make_gradients)
        if joint.node is not None:
            joint.node.kernels = 1
        return [self._part(joint, slope) for slope in slopes]

    def _part(self, joint: Tensor, slope: float) -> Tensor:
        made = Tensor(joint.storage, 0.0, slope, joint.size, None)
        return self.tape.link(made, (joint,), rule=collect)

    def rotate(self, x: Tensor) -> Tensor:
        """Rotary positions: x cos + rotated x sin, in the wider of both types; nothing of x is saved."""
        size = 4 if self.autocast else x.size
        first = self.tape.make((x,), x.slope, size)
        turned = self.tape.make((x,), x.slope, x.size)
        second = self.tape.make((turned,), x.slope, size)
        return self.add(first, second)

    def embed(self, weight: Weight, slope: float) -> Tensor:
        """Rows of a table."""
        return self.tape.make((weight,), slope, weight.size, kernels=0)

    def positions(self, elements: float) -> Tensor:
        """Rows of a table that all rows of the batch share."""
        weight = self.parameter(elements)
        made = self.tape.make((weight,), 0.0, weight.size, fixed=elements, kernels=0)
        made.share()
        return made

    def relative_bias(self, buckets: int, heads: int, length: int) -> Tensor:
        """One number for each head and pair of positions, looked up by their distance, which is saved."""
        weight, pairs = self.parameter(buckets * heads), float(length * length)
        distances = self.tape.hold("buffers", fixed=8.0 * pairs)
        made = self.tape.make((weight,), 0.0, weight.size, fixed=heads * pairs, saved=(distances,), kernels=0)
        made.share()
        return made

    def patches(self, patch: int, image: int, width: int) -> Tensor:
        """The convolution of a vision transformer, whose kernel is as large as its stride."""
        weight, bias = self.parameter(3 * patch * patch * width), self.parameter(width)
        images = self.lower(Tensor(self.tape.hold("inputs"), 0.0, 3.0 * image * image, self.weight, None))
        return self.tape.make(
            (self.lower(weight), bias), (image // patch) ** 2 * width, self.compute, saved=(images.storage,), kernels=0
        )

    def join_token(self, patches: Tensor, slope: float) -> Tensor:
        """The class token before the patches."""
        token = self.parameter(slope)
        return self.tape.make((patches,), slope, max(patches.size, token.size))

    def select(self, hidden: Tensor, slope: float) -> Tensor:
        """One position, or the mean of all: the gradient is as large as what it was taken from."""
        return self.tape.make((hidden,), slope, hidden.size)

    def route(self, hidden: Tensor, weight: Weight, choices: float, routes: float) -> Tensor:
        """The router's softmax and the weights of the experts chosen."""
        size = 4 if self.autocast else self.weight
        weights = self.tape.make((self.linear(hidden, weight, choices),), choices, size, keeps_output=True)
        indices = self.tape.hold("activations", slope=8.0 * routes)
        return self.tape.make((weights,), routes, weights.size, saved=(indices,))

    def gather(self, x: Tensor, slope: float, indices: Storage) -> Tensor:
        """Rows of `x` by their number."""
        return self.tape.make((x,), slope, x.size, saved=(indices,))

    def scatter(self, x: Tensor, slope: float, indices: Storage) -> Tensor:
        """Rows of `x` added to where their number says; they are saved too (index_add)."""
        return self.tape.make((x,), slope, x.size, saved=(indices, x.storage))

    def keep_casts(self, fixed: float) -> None:
        """Casts of weights until autocast ends."""
        self.kept.append(self.tape.hold("casts", fixed=fixed))

    def cross_entropy(self, logits: Tensor, *, upcast: bool = False) -> Tensor:
        """Of 32-bit logits under autocast, or if they are `upcast`; log-softmax keeps its output for the loss too."""
        narrow = logits.size == 2 and (self.autocast or upcast)
        wide = self.tape.make((logits,), logits.slope, 4, component="logits") if narrow else logits
        log = self.tape.make((wide,), logits.slope, wide.size, keeps_output=True, component="logits")
        del wide
        return self.tape.make((log,), 0.0, log.size, saved=(log.storage,))


def cast_back(tape: Tape, node: Node) -> None:
    """Of a sum of two types: the gradient for the narrower one is cast, and for a shared one summed over the rows."""
    gradient = node.gradient[0]
    for source in node.inputs:
        alike = source.size == node.size and source.slope == node.slope
        if not alike:
            tape.sweep((node, source))
        give(tape, source, gradient if alike else gradient_of(tape, source))


def collect(_tape: Tape, node: Node) -> None:
    """A part's gradient waits at the whole for the others."""
    node.inputs[0].gradient.append(node.gradient[0])
