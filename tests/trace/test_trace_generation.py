"""Steps that generate before they train: the cache that grows, and how a generation ends."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
from pythons import python_with

from gpuplan.errors import UserError
from gpuplan.trace import Limits, Traced, trace

PROGRAMS = Path(__file__).parent / "programs"
SOURCE = (PROGRAMS / "generation.py").read_text("utf-8").splitlines()
LIMITS = Limits(timeout_s=60)
ROWS, PROMPT, WIDTH, LAYERS, VOCABULARY = 4, 16, 64, 2, 1000


@cache
def traced(target: str, new: int, python: str | None = None, cache_kind: str | None = None) -> Traced:
    settings = {"batch_size": ROWS, "new": new} | ({"cache": cache_kind} if cache_kind else {})
    return trace(
        f"generation:{target}",
        settings,
        workdir=PROGRAMS,
        python=python,
        micro_batch="batch_size",
        batches=(ROWS,),
        limits=LIMITS,
    )


def attention_calls(answer: Traced) -> str:
    return next(assumption for assumption in answer.assumptions if "attention kernels" in assumption)


def test_generation_is_traced_to_its_limit() -> None:
    new = 24
    answer = traced("rollout", new)
    # A pass for the prompt, one for each token but the last, and that of the training.
    assert f"({LAYERS * (new + 1)}x)" in attention_calls(answer)
    assert any("generation was traced to its limit" in assumption for assumption in answer.assumptions)
    # The logits of the training pass; without the last ones a copy, its log-softmax and the gradient of that.
    length = PROMPT + new
    logits = max(moment.alive_bytes["logits"].at(ROWS) for moment in answer.footprint.moments)
    assert logits == ROWS * 4 * VOCABULARY * (length + 3 * (length - 1))


def test_a_cache_of_keys_and_values_is_alive_while_it_grows() -> None:
    """Each token makes keys and values anew, longer by one; the last token is never fed back."""
    short, long = (traced("rollout", new) for new in (24, 96))
    stream = long.stream
    sizes = {round(stream.lines[index].at(ROWS)) for index in stream.line_of}
    last = ROWS * (PROMPT + 96 - 1) * WIDTH * 4
    assert last in sizes
    assert {last - token * ROWS * WIDTH * 4 for token in range(90)} <= sizes
    assert long.footprint.flops(ROWS) > 2 * short.footprint.flops(ROWS)


@pytest.mark.parametrize("cache_kind", [None, "static"])
def test_generate_of_hugging_face(cache_kind: str | None) -> None:
    new = 6
    answer = traced("hugging_face", new, python_with("transformers"), cache_kind)
    assert f"({LAYERS * (new + 1)}x)" in attention_calls(answer)
    assert any("generation was traced to its limit" in assumption for assumption in answer.assumptions)


@pytest.mark.parametrize(
    ("name", "message", "hint"),
    [
        ("endless", "this loop ends only when generated values say so", "for _ in range(max_new_tokens)"),
        ("trims", "the size of a tensor depends on values here", "give the step fixed shapes"),
    ],
)
def test_what_depends_on_generated_values_is_named_at_its_line(name: str, message: str, hint: str) -> None:
    line = next(number for number, text in enumerate(SOURCE, 1) if text.endswith(f"# HERE {name}"))
    with pytest.raises(UserError) as caught:
        traced(name, 1)
    assert caught.value.message.startswith(f"generation.py:{line}: ")
    assert message in caught.value.message
    assert hint in str(caught.value.hint)
