"""Work of a step by class of operator and by kind of kernel, as lines in the batch. It looks at no single tensor."""

from __future__ import annotations

from collections import Counter
from typing import Any, Dict, List, Sequence, Tuple

from .envelope import line_through

__all__ = ["by_class", "by_kernel", "precision_of"]

KINDS = ("matmul", "attention", "convolution", "depthwise", "elementwise", "embedding", "optimizer")
NAME, KIND, EVENT, DTYPE, FLOPS, MOVED, KERNELS = range(7)
PRECISIONS = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16", "float64": "fp64"}


def by_class(deeds: Sequence[Sequence[List[Any]]], batches: Sequence[int]) -> List[Dict[str, Any]]:
    """One entry a class that occurs: FLOPs, bytes moved and kernels."""
    found = []
    for kind in KINDS:
        totals = [[deed for deed in of_batch if deed[KIND] == kind] for of_batch in deeds]
        if any(totals):
            flops, moved = (
                line_through(batches, [sum(deed[column] for deed in of_batch) for of_batch in totals])
                for column in (FLOPS, MOVED)
            )
            kernels = sum(deed[KERNELS] for deed in totals[-1])
            found.append({"kind": kind, "flops": list(flops), "moved_bytes": list(moved), "kernels": kernels})
    return found


def by_kernel(deeds: Sequence[Sequence[List[Any]]], batches: Sequence[int]) -> List[List[Any]]:
    """Kernels that are alike: class, name, dtype, FLOPs and bytes of one, and how many there are.

    A roofline needs them one by one, as each is bound by something else.
    """
    counts: Counter[Tuple[Any, ...]] = Counter()
    for same in zip(*deeds):  # noqa: B905  Python 3.9
        first = same[0]
        flops = line_through(batches, [deed[FLOPS] for deed in same])
        moved = line_through(batches, [deed[MOVED] for deed in same])
        counts[(first[KIND], first[NAME], first[DTYPE], flops, moved, first[KERNELS])] += 1
    return [[*key[:3], list(key[3]), list(key[4]), key[5], count] for key, count in counts.items()]


def precision_of(deeds: Sequence[List[Any]]) -> str:
    """The dtype in which most FLOPs happen."""
    flops: Counter[str] = Counter()
    for deed in deeds:
        flops[deed[DTYPE]] += deed[FLOPS]
    dtype = flops.most_common(1)[0][0] if flops and any(flops.values()) else "float32"
    return PRECISIONS.get(dtype, dtype)
