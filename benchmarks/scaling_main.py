"""`accuracy.py scaling FILE.csv [--result OUT.json] [--rows OUT.jsonl]`: step times on n GPUs from those on fewer.

The last line printed is one JSON object. It never reads a row's value before the row is predicted, except to fit
constants for other models.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scaling_predict import WORTH, held_out, shipped, with_two
from scaling_rows import questions, read_rows
from scaling_score import baselines, by, headline, is_headline, scores

from gpuplan.estimate.communication import link_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scaling_predict import Answer
    from scaling_rows import Question, Row

__all__ = ["main"]

RESULT = Path(__file__).parent / "results" / "scaling.json"
SHOWN = 20
COLUMNS = ("rows", "mean_abs_pct", "median_abs_pct", "coverage", "worth_it_right", "low_efficiency_rows",
           "low_efficiency_mean_abs_pct", "low_efficiency_caught")  # fmt: skip


def main(arguments: Sequence[str]) -> int:
    """Print the scores of a file; 2 if it cannot be read."""
    options = _parser().parse_args(arguments)
    started = time.perf_counter()
    try:
        rows, flagged = read_rows(options.file)
    except (OSError, csv.Error) as error:
        print(f"{options.file} cannot be read: {error}", file=sys.stderr)
        return 2
    asked, silent = questions(rows)
    silent += [(question.row, "a GPU that gpuplan does not know") for question in asked if question.row.gpu is None]
    asked = [question for question in asked if question.row.gpu]
    answers = held_out(asked)
    _print_silent(silent, flagged)
    result = _result(asked, answers, silent, started)
    if options.rows:
        options.rows.write_text("".join(f"{json.dumps(_line(answer))}\n" for answer in answers), encoding="utf-8")
    if options.result:
        options.result.write_text(f"{json.dumps(result, indent=1)}\n", encoding="utf-8")
    print(json.dumps({key: value for key, value in result.items() if not isinstance(value, dict)}))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="accuracy.py scaling", description=__doc__)
    parser.add_argument("file", type=Path, help="columns of time_scaling.csv")
    parser.add_argument("--result", type=Path, default=RESULT, help="where the scores are written as JSON")
    parser.add_argument("--rows", type=Path, help="one JSON line a row")
    return parser


def _print_silent(silent: list[tuple[Row, str]], flagged: int) -> None:
    print(f"left out, flagged: {flagged}")
    if silent:
        print(f"not answered ({len(silent)}): " + "; ".join(f"{row.id}: {reason}" for row, reason in silent[:SHOWN]))


def _result(
    asked: Sequence[Question], answers: Sequence[Answer], silent: Sequence[tuple[Row, str]], started: float
) -> dict[str, Any]:
    counted = headline(answers)
    two = with_two(asked, answers)
    as_shipped, unseen = headline(shipped(asked)), headline(held_out(asked, hosts=False))
    tables = {
        "by_link": by(counted, _link),
        "by_kind": by(answers, _kind),
        "by_model": by(counted, lambda answer: answer.question.row.family),
        "other_rules": {
            "models held out (the figures below)": scores(counted),
            "models held out, no run of the host known": scores(unseen),
            "as shipped in links.toml, nothing held out": scores(as_shipped),
            "models held out, own run on two GPUs known": scores(two),
        },
    }
    for name, table in tables.items():
        _print_table(name, table)
    known = baselines([answer.question for answer in counted], worth=WORTH)
    for each in known:
        print(f"baseline {each.name}: {each.rows} rows, mean {each.mean_abs_pct} %, below {WORTH:.2f} "
              f"{each.low_mean_abs_pct} %, right {each.right}, caught {each.caught}")  # fmt: skip
    rows = len(asked) + sum(row.gpus > 1 for row, _ in silent)
    is_ddp = any(is_headline(answer.question) for answer in answers)
    return {
        **scores(counted),
        "answered": round(len(asked) / rows, 4) if rows else None,
        "with_two_gpu_log_mean_abs_pct": scores(two).get("mean_abs_pct"),
        "of": "DDP rows with a one-GPU base at the same rows a GPU" if is_ddp else "all rows answered",
        "seconds": round(time.perf_counter() - started, 1),
        **tables,
        "baselines": {each.name: each._asdict() for each in known},
    }


def _print_table(name: str, table: dict[str, dict[str, Any]]) -> None:
    print(f"\n{name:44}{'rows':>6}{'mean':>8}{'median':>8}{'cover':>7}{'right':>7}{'low':>5}{'mean':>7}{'caught':>8}")
    for key, row in table.items():
        figures = ["-" if row.get(column) is None else row[column] for column in COLUMNS]
        print("{:44}{:>6}{:>8}{:>8}{:>7}{:>7}{:>5}{:>7}{:>8}".format(key[:43], *figures))


def _link(answer: Answer) -> str:
    gpu = answer.question.row.gpu
    several = " + network" if "node" in answer.question.row.link.lower() else ""
    return f"{link_of(gpu, answer.question.row.link).name}{several}" if gpu else ""


def _kind(answer: Answer) -> str:
    question = answer.question
    batch = "" if question.same_batch else ", other rows a GPU"
    return f"{question.row.kind} from {'1 GPU' if question.base.gpus == 1 else 'several GPUs'}{batch}"


def _line(answer: Answer) -> dict[str, Any]:
    row = answer.question.row
    return {
        "id": row.id, "model": row.model, "gpus": row.gpus, "kind": row.kind, "link": _link(answer), "how": answer.how,
        "measured": round(answer.question.slow, 4), "p10": round(answer.low, 4), "p50": round(answer.slow, 4),
        "p90": round(answer.high, 4), "error_pct": round(answer.error_pct, 2), "worth_it": not answer.said_low,
    }  # fmt: skip
