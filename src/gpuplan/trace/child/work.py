"""Counts what each operator does: FLOPs, bytes moved, kernels, by class. It never looks at lifetimes."""

# ruff: noqa: SLF001  what PyTorch does with a tensor is decided below its public functions
from __future__ import annotations

import math
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Set

import torch
from torch.utils import flop_counter

from .quantised import LIBRARY, matmul_flops
from .state import STATE

__all__ = ["Deed", "Facts", "Work", "facts_of", "size_of"]

attention_flops: Any = flop_counter.sdpa_flop_count
ATTENTION = "attention"
CONVOLUTIONS = ("convolution", "cudnn_convolution", "mkldnn_convolution", "conv_tbc", "slow_conv", "conv_depthwise")
MATMULS = frozenset(
    (
        *("mm", "addmm", "bmm", "baddbmm", "addbmm", "addmv", "mv", "dot", "vdot", "addr", "linear", "matmul"),
        *("_scaled_mm", "_grouped_mm", "_scaled_grouped_mm", "_addmm_activation", "_int_mm", "linalg_vecdot"),
    )
)
LOOKUPS = frozenset(("embedding", "embedding_renorm", "_embedding_bag", "_embedding_bag_forward_only"))
SCATTERS = frozenset(("embedding_dense_backward", "embedding_backward", "_embedding_bag_backward"))
GATHERS = LOOKUPS | {"index", "gather", "index_select", "take", "nll_loss_forward", "nll_loss2d_forward"}
"""They read only as many elements as they write, whatever the size of the table."""
UNREAD = frozenset(("copy_", "fill_", "zero_", "normal_", "uniform_", "bernoulli_", "random_", "nll_loss_backward"))
"""They write all of their first argument (or of their output) without reading it."""
FREE = frozenset(
    (
        *("empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided"),
        *("lift_fresh", "resize_", "set_", "detach_", "_unsafe_view"),
    )
)
"""They start no kernel."""
COLLECTIVES = frozenset(("c10d", "_c10d_functional"))
"""Their time is the network's."""
KNOWN = COLLECTIVES | {"aten", "prim", "prims", "fsdp", "profiler", LIBRARY}
"""Libraries of operators whose own allocations are known."""
FIRST_SEEN = frozenset(("lift", "lift_fresh"))
"""What `torch.tensor` makes is made out of sight, and lifted into it."""
HEADS = frozenset(("_log_softmax", "nll_loss_forward", "nll_loss2d_forward"))

TENSORS_OF_A_LAUNCH = {1: 110, 2: 64, 3: 48, 4: 36, 5: 30}
ELEMENTS_OF_A_LAUNCH = 320 * 65536
"""How much a multi-tensor kernel takes at once, by the number of its lists: ATen/native/cuda/MultiTensorApply.cuh,
CUDA 12, seen in torch 2.13 in November 2026."""


class Facts(NamedTuple):
    """What is known of an operator before it is called."""

    name: str
    kind: str
    is_view: bool
    flops: Optional[Callable[..., int]]
    is_collective: bool
    is_foreign: bool
    full_name: str
    causal_at: Optional[int]
    rewritten: Sequence[int]


class Deed(NamedTuple):
    """One operator's work; lines in the batch are made of two of them. `event` is when, on the ledger's clock."""

    name: str
    kind: str
    event: int
    dtype: str
    flops: float
    moved_bytes: float
    kernels: int


class Work:
    """The deeds of one step, in order, and how many classes its losses choose from."""

    def __init__(self) -> None:
        self.deeds: List[Deed] = []
        self.classes: Set[int] = set()

    def record(
        self,
        facts: Facts,
        args: Sequence[Any],
        kwargs: Dict[str, Any],
        *,
        result: Any,
        inputs: List[torch.Tensor],
        outputs: List[torch.Tensor],
        event: int,
    ) -> None:
        """Note what one call did."""
        if facts.name in FREE or facts.is_collective:
            return
        if facts.name in HEADS:
            self.classes.add(_classes(args))
        first = inputs[0] if inputs else (outputs[0] if outputs else None)
        deed = Deed(
            name=facts.name,
            kind="depthwise" if _is_depthwise(facts.name, args) else facts.kind,
            event=event,
            dtype=str(first.dtype)[6:] if first is not None else "",
            flops=_flops(facts, args, kwargs, result),
            moved_bytes=_moved_bytes(facts.name, inputs, outputs or _rewritten(facts, args)),
            kernels=_kernels(facts.name, args),
        )
        self.deeds.append(deed)


def facts_of(func: Any) -> Facts:
    """What an operator is, by its schema and name."""
    name = func._overloadpacket.__name__ if hasattr(func, "_overloadpacket") else str(func)
    space = getattr(func, "namespace", "aten")
    returns = func._schema.returns if hasattr(func, "_schema") else ()
    is_view = any(value.alias_info is not None and not value.alias_info.is_write for value in returns)
    arguments = func._schema.arguments if hasattr(func, "_schema") else ()
    names = [argument.name for argument in arguments]
    return Facts(
        name=name,
        kind="matmul" if space == LIBRARY and matmul_flops(name) else _kind(name),
        is_view=is_view and name not in FIRST_SEEN,
        flops=matmul_flops(name) if space == LIBRARY else _flop_formula(func, name),
        is_collective=space in COLLECTIVES,
        is_foreign=space not in KNOWN,
        full_name="{}::{}".format(space, name),
        causal_at=names.index("is_causal") if "is_causal" in names else None,
        rewritten=[at for at, one in enumerate(arguments) if one.alias_info is not None and one.alias_info.is_write],
    )


def size_of(tensor: torch.Tensor) -> int:
    """Bytes of its elements; a broadcast one counts what is stored."""
    elements = 1
    for length, stride in zip(tensor.shape, tensor.stride()):  # noqa: B905  Python 3.9 has no `strict`
        if stride:
            elements *= length
    return elements * tensor.element_size()


def _kind(name: str) -> str:
    if ATTENTION in name:
        return "attention"
    if name.startswith(CONVOLUTIONS):
        return "convolution"
    if name in MATMULS:
        return "matmul"
    return "embedding" if name in LOOKUPS or name in SCATTERS else "elementwise"


def _is_depthwise(name: str, args: Sequence[Any]) -> bool:
    """Whether each channel is convolved by itself."""
    at = {"convolution": (1, 8), "convolution_backward": (2, 9)}.get(name)
    return at is not None and args[at[1]] > 1 and args[at[0]].shape[1] == 1


def _flop_formula(func: Any, name: str) -> Optional[Callable[..., int]]:
    if name == "convolution_backward":
        return _convolution_backward_flops
    formula: Optional[Callable[..., int]] = flop_counter.flop_registry.get(getattr(func, "_overloadpacket", None))
    if formula is None and name == "_scaled_dot_product_flash_attention_for_cpu":
        return _cpu_attention_flops
    if formula is None and name == "_scaled_dot_product_flash_attention_for_cpu_backward":
        return _cpu_attention_backward_flops
    return formula


def _classes(args: Sequence[Any]) -> int:
    """The width of a loss: the dimension that log-softmax names, or the second."""
    logits, dimension = args[0], args[1]
    if not isinstance(dimension, int):
        dimension = min(1, logits.dim() - 1)
    return int(logits.shape[dimension])


def _cpu_attention_flops(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *_: Any, **__: Any) -> int:
    """PyTorch's registry has no entry for the CPU's kernel."""
    return int(attention_flops(query.shape, key.shape, value.shape))


def _cpu_attention_backward_flops(
    _gradient: torch.Tensor, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *_: Any, **__: Any
) -> int:
    """Five products where the forward pass has two, as in the registry's other kernels."""
    return int(attention_flops(query.shape, key.shape, value.shape) * 5 // 2)


def _convolution_backward_flops(
    gradient: torch.Tensor,
    image: torch.Tensor,
    weight: torch.Tensor,
    _bias_sizes: Any,
    _stride: Any,
    _padding: Any,
    _dilation: Any,
    transposed: bool,
    _output_padding: Any,
    _groups: int,
    output_mask: Sequence[bool],
    **_: Any,
) -> int:
    """As many as the forward pass for each gradient that is wanted: PyTorch's registry forgets the groups."""
    shape = image.shape if transposed else gradient.shape
    positions = shape[0] * math.prod(shape[2:])
    return int(2 * positions * weight.numel() * sum(output_mask[:2]))


def _flops(facts: Facts, args: Sequence[Any], kwargs: Dict[str, Any], result: Any) -> float:
    if facts.flops is None:
        return 0.0
    count = float(facts.flops(*args, **kwargs, out_val=result))
    if facts.causal_at is None:
        return count
    causal = args[facts.causal_at] if facts.causal_at < len(args) else kwargs.get("is_causal", False)
    # The registry counts the half of a causal attention that no kernel computes.
    return count / 2 if causal else count


def _moved_bytes(name: str, inputs: List[torch.Tensor], outputs: List[torch.Tensor]) -> float:
    written = sum(size_of(tensor) for tensor in outputs) or (size_of(inputs[0]) if inputs else 0)
    if name in GATHERS:
        return float(2 * written + sum(size_of(tensor) for tensor in inputs[1:2]))
    if name in UNREAD:
        return float(written + sum(size_of(tensor) for tensor in inputs[1:2]))
    return float(written + sum(size_of(tensor) for tensor in inputs))


def _rewritten(facts: Facts, args: Sequence[Any]) -> List[torch.Tensor]:
    """Every tensor of the lists that a multi-tensor operator works on in place: it returns nothing."""
    lists = [args[at] for at in facts.rewritten if at < len(args) and isinstance(args[at], (list, tuple))]
    return [tensor for tensors in lists for tensor in tensors]


def _kernels(name: str, args: Sequence[Any]) -> int:
    if not name.startswith(("_foreach", "_fused_adam", "_fused_sgd")):
        return 1
    lists = [
        value for value in args if isinstance(value, (list, tuple)) and value and isinstance(value[0], torch.Tensor)
    ]
    if not STATE.gpu:
        return len(lists[0]) if lists else 1
    return _launches(lists)


def _launches(lists: List[Any]) -> int:
    if not lists:
        return 1
    tensors = TENSORS_OF_A_LAUNCH[min(len(lists), 5)]
    elements: int = sum(tensor.numel() for tensor in lists[0])
    return max(-(-len(lists[0]) // tensors), -(-elements // ELEMENTS_OF_A_LAUNCH))
