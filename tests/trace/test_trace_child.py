"""The child stands alone: its Python, its imports, its rules for kernels."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest
import torch

from gpuplan.trace.child import attention, quantised, uniform, workspaces
from gpuplan.trace.child.categories import Spans
from gpuplan.trace.child.ledger import GATHERED, Allocation, Ledger
from gpuplan.trace.child.phases import Mark
from gpuplan.trace.child.state import STATE

CHILD = sorted((Path(__file__).parents[2] / "src/gpuplan/trace/child").glob("*.py"))
ALLOWED = frozenset(("torch", "numpy"))


@pytest.mark.parametrize("path", CHILD, ids=lambda path: path.name)
def test_the_child_runs_on_python_3_9_and_needs_nothing_but_torch(path: Path) -> None:
    tree = ast.parse(path.read_text("utf-8"), feature_version=(3, 9))
    for node in ast.walk(tree):
        assert not isinstance(node, ast.Match | ast.TryStar)
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names = [node.module]
        else:
            continue
        roots = {name.split(".")[0] for name in names}
        assert roots <= ALLOWED | set(sys.stdlib_module_names), names


def test_no_module_of_the_child_hides_one_of_the_standard_library() -> None:
    assert not {path.stem for path in CHILD} & set(sys.stdlib_module_names)


# ---------------------------------------------------------------- attention


def call(
    *, dtype: torch.dtype = torch.bfloat16, width: int = 64, heads: int = 8, key_heads: int = 8, **more: object
) -> attention.Call:
    query = torch.empty(2, heads, 128, width, dtype=dtype, device="meta", requires_grad=True)
    key = torch.empty(2, key_heads, 128, width, dtype=dtype, device="meta")
    return attention.Call(query, key, key, **more)  # type: ignore[arg-type]


MASK = torch.empty(2, 1, 128, 128, dtype=torch.bool, device="meta")


@pytest.mark.parametrize(
    ("asked", "capability", "kernel"),
    [
        (call(), (8, 0), "flash"),
        (call(), (7, 5), "math"),
        (call(dtype=torch.float16), (7, 5), "memory-efficient"),
        (call(dtype=torch.float32), (8, 0), "memory-efficient"),
        (call(dtype=torch.float64), (8, 0), "math"),
        (call(attn_mask=MASK), (9, 0), "memory-efficient"),
        (call(width=512), (8, 0), "memory-efficient"),
        (call(width=36), (8, 0), "flash"),
        (call(width=36, attn_mask=MASK), (8, 0), "math"),
        (call(width=208), (8, 0), "flash"),
        (call(width=208), (8, 9), "memory-efficient"),
        (call(width=256, dropout_p=0.1), (8, 6), "memory-efficient"),
        (call(key_heads=2, enable_gqa=True), (8, 0), "flash"),
        (call(key_heads=2, enable_gqa=True, dtype=torch.float32), (8, 0), "math"),
    ],
)
def test_the_kernel_is_the_one_that_a_gpu_would_run(
    asked: attention.Call, capability: tuple[int, int], kernel: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(STATE, "capability", capability)
    monkeypatch.setattr(torch.Tensor, "is_cuda", property(lambda _: True))
    assert attention.choose(asked) == kernel


def test_flash_attention_has_a_workspace_in_its_backward_pass() -> None:
    query = torch.empty(2, 8, 100, 80, dtype=torch.bfloat16, device="meta")
    key = torch.empty(2, 2, 100, 80, dtype=torch.bfloat16, device="meta")
    name = "_scaled_dot_product_flash_attention_backward"
    beside = workspaces.workspaces_of(name, [None, query, key], {}, result=None).beside
    rows = 2 * 8 * 128
    assert beside == [rows * 96 * 4 + rows * 4 + 2 * 2 * 100 * 8 * 80 * 2]


def test_four_bit_weights_are_unpacked_with_their_scales() -> None:
    rows = torch.empty(3, 128, dtype=torch.bfloat16, device="meta")
    scales = torch.empty(64, dtype=torch.uint8, device="meta")
    plain: list[object] = [rows, None, (64, 128), None, 64, "nf4"]
    assert quantised.workspace_of("gemm_4bit", plain, {}) == [64 * 128 * 2]
    assert quantised.workspace_of("gemm_4bit", plain, {"absmax_8bit": scales}) == [64 * 128 * 2 + 64 * 128 // 64 * 4]
    count = quantised.matmul_flops("gemm_4bit")
    assert count is not None
    assert count(*plain) == 2 * 3 * 128 * 64
    assert quantised.matmul_flops("dequantize_4bit") is None


# ---------------------------------------------------------------- known values


def know(name: str, *args: object, dtype: torch.dtype = torch.bool) -> torch.Tensor:
    made = torch.empty(4, dtype=dtype, device="meta")
    uniform.follow(name, args, made)
    return made


def test_flags_are_known_through_logic() -> None:
    yes, no, open_flag = know("full", (4,), 1), know("zeros", (4,)), know("isin")
    ones = know("ones", (4,), dtype=torch.int64)
    values = [uniform.value_of(flag) for flag in (yes, no, open_flag, ones)]
    assert values == [True, False, None, 1]
    over = know("bitwise_or", know("bitwise_or", no, open_flag), yes)
    assert uniform.value_of(over) is True
    left = know("bitwise_and", ones, know("bitwise_not", over), dtype=torch.int64)
    assert uniform.value_of(know("eq", know("max", left, dtype=torch.int64), 0)) is True
    assert uniform.value_of(know("bitwise_or", open_flag, no)) is None
    assert uniform.value_of(know("mul", ones, 3.0, dtype=torch.float32)) == 3.0
    assert uniform.value_of(know("rsub", ones, 1, dtype=torch.int64)) == 0


def test_a_value_is_forgotten_where_a_part_is_written() -> None:
    mask = know("ones", (4,))
    uniform.follow("fill_", (mask[:2], False), mask[:2])
    assert uniform.value_of(mask) is None
    uniform.follow("fill_", (mask, False), mask)
    assert uniform.value_of(mask) is False
    uniform.follow("fill_", (mask[:2], False), mask[:2])
    assert uniform.value_of(mask[2:]) is False
    uniform.follow("random_", (mask,), mask)
    assert uniform.value_of(mask) is None


# ---------------------------------------------------------------- lifetimes and phases


def test_the_ledger_follows_a_storage_to_its_end() -> None:
    ledger = Ledger()
    tensor = torch.empty(10, device="meta")
    view = tensor.view(2, 5)
    ledger.add(tensor.untyped_storage(), Allocation(40, (10,), "float32", "empty", 0, 0, with_grad=False, placed=True))
    assert ledger.knows(view.untyped_storage())
    del tensor
    assert (ledger.alive_bytes, ledger.events) == (40, [1])
    del view
    assert (ledger.alive_bytes, ledger.events, ledger.alive()) == (0, [1, -1], [])


def test_a_storage_that_loses_its_memory_and_regains_it_is_two_allocations() -> None:
    ledger = Ledger()
    tensor = torch.empty(10, device="meta")
    made = Allocation(40, (10,), "float32", "empty", 0, 0, with_grad=False, placed=True)
    ledger.add(tensor.untyped_storage(), made)
    ledger.empty(tensor.untyped_storage())
    ledger.empty(tensor.untyped_storage())
    assert (ledger.alive_bytes, ledger.events) == (0, [1, -1])
    assert ledger.knows(tensor.untyped_storage())
    ledger.add(tensor.untyped_storage(), made._replace(operator=GATHERED))
    assert (ledger.alive_bytes, ledger.alive()) == (40, [1])
    del tensor
    assert (ledger.alive_bytes, ledger.events) == (0, [1, -1, 2, -2])


def test_a_pause_belongs_to_what_comes_next() -> None:
    """Clipping belongs to the optimizer, a second forward pass to itself, clearing up to the optimizer."""
    marks = [Mark(*pair) for pair in [(10, "backward"), (20, "forward"), (30, "backward"), (40, "forward")]]
    marks += [Mark(*pair) for pair in [(50, "optimizer"), (60, "forward")]]
    spans = Spans([Mark(5, "forward"), *marks], start=5)
    assert [spans.at(event) for event in (7, 15, 25, 35, 45, 55, 65)] == [
        "forward",
        "backward",
        "forward",
        "backward",
        "optimizer",
        "optimizer",
        "optimizer",
    ]
    assert spans.next_backward(12) == 30
    assert spans.next_backward(31) is None
