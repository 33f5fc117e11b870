"""All constants of `estimate.transfer` from measured rows, as the text of the files that ship. It keeps no row."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from time_no_log import guesses, longer_of, width_of
from time_shapes import shaped
from time_tasks import HOLD_OUTS, residuals

from gpuplan.estimate.refit import fitted_tables, fitted_widths

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from time_rows import Pair, TimeRow

    from gpuplan.data.derates import Tables

__all__ = ["derates_text", "ratios_text", "shippable_tables"]

FEWEST_MODELS = 2
"""Below it a ratio is one measurement, and not a constant."""

HEADER = """\
# How GPUs stand to each other: constants fitted on public step times, no row of them. Written by
# `python benchmarks/fit_time.py FILE.csv`; read by gpuplan.data.derates; used by gpuplan.estimate.transfer.
#
# slope    by how much the log of a step time changes with the log of the peak rate and of the bandwidth; rows add up:
#          "" for all, "half" or "full" for 16 bits or more, and the regime
# derate   by what factor steps on the GPU take longer than that; rows multiply: "" for all, the precision, the regime
# width    half of the 80 % interval of a log ratio between GPUs whose rates differ by a factor of e, from held-out
#          errors: measured, other models were seen on both GPUs; else nothing was, on any variant of the target's chip
# longer   what operators that compute, and those that move bytes, take over their rooflines on an A100 SXM 80GB: the
#          mean over models with public dimensions; log_width is half of the 80 % interval of the log of a step
# rows, models: how many measurements of how many models speak for it
"""


def shippable_tables(rows: Sequence[TimeRow], pairs: Sequence[Pair]) -> Tables:
    """The constants of all rows, whatever the software, and the widths of held-out errors."""
    samples = [row.sample._replace(stack="") for row in rows]
    tables = fitted_tables(samples)
    far = [pair for pair in pairs if pair.source.generation != pair.target.generation]
    errors = [
        *(found for found in residuals(pairs, rows, HOLD_OUTS["model"]) if found.measured),
        *(found for found in residuals(far, rows, HOLD_OUTS["chip"]) if not found.measured),
    ]
    tables = replace(tables, widths=fitted_widths(errors))
    steps = [step for row in rows if (step := shaped(row))]
    longer, guessed = longer_of(steps, tables), guesses(steps, rows, widths=tables.widths)
    return replace(tables, longer=longer._replace(log_width=width_of(guessed)) if longer else None)


def derates_text(tables: Tables, rows: Sequence[TimeRow]) -> str:
    """The content of derates.toml."""
    return (
        "\n".join(
            [HEADER, *_about(rows), *_slopes(tables, rows), *_derates(tables), *_widths(tables), *_longer(tables)]
        )
        + "\n"
    )


def ratios_text(tables: Tables, rows: Sequence[TimeRow]) -> str:
    """The content of ratios.csv: each pair of GPUs once, where at least FEWEST_MODELS models speak for it."""
    lines = [
        "# Median over models of the step time on GPU b over that on GPU a, by precision and regime (no single rows)",
        f"# source: {'; '.join(_sources(rows))}; fitted {_today()}",
        "gpu_a,precision_a,gpu_b,precision_b,regime,time_b_over_a,models",
    ]
    for (first, second), found in sorted(tables.ratios.items()):
        if first < second:
            lines += [
                f"{first.gpu},{first.precision},{second.gpu},{second.precision},{row.regime},"
                f"{math.exp(row.log_ratio):.4g},{row.models}"
                for row in sorted(found)
                if row.models >= FEWEST_MODELS
            ]
    return "\n".join(lines) + "\n"


def _about(rows: Sequence[TimeRow]) -> Iterator[str]:
    yield f"date = {_quoted(_today())}"
    yield "sources = ["
    yield from (f"    {_quoted(source)}," for source in _sources(rows))
    yield "]"


def _today() -> str:
    return datetime.now(tz=UTC).date().isoformat()


def _sources(rows: Sequence[TimeRow]) -> list[str]:
    counted = Counter(row.source for row in rows)
    return [f"{name}: {count} step times, median of repeats" for name, count in counted.most_common()]


def _longer(tables: Tables) -> Iterator[str]:
    found = tables.longer
    if found:
        yield f"\n[longer]\ncompute = {found.compute:.3f}\nmemory = {found.memory:.3f}"
        yield f"log_width = {found.log_width:.3f}\nrows = {found.rows}\nmodels = {found.models}"


def _slopes(tables: Tables, rows: Sequence[TimeRow]) -> Iterator[str]:
    yield "\nslope = ["
    for name, slope in sorted(tables.slopes.items()):
        members = [row for row in rows if name in ("", row.sample.regime, row.level)]
        yield _line(of=name, flops=round(slope.flops, 4), bandwidth=round(slope.bandwidth, 4), **_evidence(members))
    yield "]"


def _evidence(rows: Sequence[TimeRow]) -> dict[str, int]:
    return {"rows": len(rows), "models": len({row.sample.model for row in rows})}


def _derates(tables: Tables) -> Iterator[str]:
    yield "\nderate = ["
    for (gpu, name), derate in sorted(tables.derates.items()):
        yield _line(gpu=gpu, of=name, factor=round(derate.factor, 4), rows=derate.rows, models=derate.models)
    yield "]"


def _widths(tables: Tables) -> Iterator[str]:
    yield "\nwidth = ["
    for (name, measured), width in sorted(tables.widths.items()):
        yield _line(of=name, measured=measured, log_width=round(width, 3))
    yield "]"


def _line(**fields: str | float | bool) -> str:
    """One row of a table, as TOML has it inline."""
    return "    { " + ", ".join(f"{name} = {_value(value)}" for name, value in fields.items()) + " },"


def _value(value: str | float | bool) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return _quoted(value) if isinstance(value, str) else str(value)


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "").replace('"', "") + '"'
