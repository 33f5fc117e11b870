"""Memory estimates on measured rows: `accuracy.py memory FILE.csv [FITS.csv] [--json OUT] [--hold-out BY] [--peers]`.

Every row is predicted by the metric that it states. The last line printed is one JSON object. It never reads a row's
measured value before the row is predicted, except to fit constants on other rows with `--hold-out`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from memory_holdout import held_out
from memory_peers import peer_errors
from memory_predict import answer
from memory_rows import read_rows
from memory_score import by, fits_right, summary

if TYPE_CHECKING:
    from collections.abc import Sequence

    from memory_rows import Row
    from memory_score import Answer

TARGET_SECONDS = 20 * 60


def main(arguments: Sequence[str]) -> int:
    """Print the scores of the files; 2 if one cannot be read."""
    options = _parser().parse_args(arguments)
    started = time.perf_counter()
    rows: list[Row] = []
    for path in options.files:
        try:
            rows += read_rows(path)
        except OSError as error:
            print(f"{path} cannot be read: {error.strerror}", file=sys.stderr)
            return 2
    answers = held_out(rows, by=options.hold_out) if options.hold_out else [answer(row) for row in rows]
    if options.json:
        options.json.write_text("".join(f"{json.dumps(_line(found))}\n" for found in answers), encoding="utf-8")
    _print(answers, tier=options.tier)
    if options.peers:
        for name, scores in peer_errors(rows, answers, python=options.peers).items():
            print(f"peer {name}: " + ", ".join(f"{key} {value}" for key, value in scores.items()))
    print(json.dumps(_result([found for found in answers if _counts(found, options.tier)], answers, started)))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="accuracy.py memory", description="Hold memory estimates against rows.")
    parser.add_argument("files", type=Path, nargs="+", help="columns of memory.csv or fits.csv")
    parser.add_argument("--json", type=Path, help="one JSON line a row, with the reason")
    parser.add_argument("--hold-out", choices=["group", "family"], help="fit no constant on the rows it is scored on")
    parser.add_argument(
        "--peers", nargs="?", const=sys.executable, metavar="PYTHON", help="other estimators, as this Python has them"
    )
    parser.add_argument("--tier", default="A", help="rows that count: A, AB or ABC (default: A, the complete ones)")
    return parser


def _counts(found: Answer, tier: str) -> bool:
    return found.tier in tier or bool(found.label)


def _line(found: Answer) -> dict[str, Any]:
    scored = found.scored and found.p50_gib is not None
    return asdict(found) | {"error_pct": round(found.error_pct, 2) if scored else None}


def _print(answers: list[Answer], *, tier: str) -> None:
    excluded = [found for found in answers if found.excluded]
    if excluded:
        print(f"left out, not peaks ({len(excluded)}): " + ", ".join(f"{x.id} ({x.excluded})" for x in excluded))
    silent = [found for found in answers if found.p50_gib is None and not found.excluded]
    if silent:
        print(f"not answered ({len(silent)}): " + "; ".join(f"{x.id}: {x.reason}" for x in silent[:20]))
    counted = [found for found in answers if _counts(found, tier)]
    print(f"\n{'group · metric (tiers ' + tier + ')':34}{'rows':>6}{'mean':>8}{'median':>8}{'bias':>8}{'worst':>8}"
          f"{'low>10':>8}{'cover':>7}")  # fmt: skip
    for name, row in by(counted, _place).items():
        print(
            f"{name:34}{row['rows']:6}{row['mean_abs_pct']:8.2f}{row['median_abs_pct']:8.2f}{row['bias_pct']:8.2f}"
            f"{row['worst_pct']:8.1f}{100 * row['share_underpredicted_over_10_pct']:7.0f}%{row['coverage']:7.2f}"
        )
    fits = fits_right(answers)
    if fits:
        shares = f"of those that fit {fits['fits_said_to_fit']}, of those that did not {fits['oom_said_to_fail']}"
        print(f"\nfits or OOM, {fits['rows']} rows: balanced accuracy {fits['balanced_accuracy']} ({shares})")


def _place(found: Answer) -> str:
    ranks = " sharded" if found.sharded else ""
    return f"{found.group}{ranks} · {found.metric}"


def _result(counted: list[Answer], answers: list[Answer], started: float) -> dict[str, Any]:
    whole = summary(counted)
    groups = by(counted, lambda found: f"{found.group}/{found.metric}")
    fits = fits_right(answers)
    complete = [found for found in counted if not found.excluded]
    answered = [found for found in complete if found.p50_gib is not None]
    means = [float(group["mean_abs_pct"]) for group in groups.values()]
    return {
        "macro_mean_abs_pct": round(statistics.fmean(means), 2) if means else None,
        "mean_abs_pct": whole.get("mean_abs_pct"),
        "median_abs_pct": whole.get("median_abs_pct"),
        "share_underpredicted_over_10_pct": whole.get("share_underpredicted_over_10_pct"),
        "coverage": whole.get("coverage"),
        "fits_right": fits["balanced_accuracy"] if fits else None,
        "answered": round(len(answered) / len(complete), 4) if complete else None,
        "seconds": round(time.perf_counter() - started, 2),
        "by_group": groups,
    }
