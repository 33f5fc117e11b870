"""`accuracy.py time FILE.csv... [--result OUT.json]`: step times on one GPU from those on another, or from none.

The last line printed is one JSON object; its top level is one log on another GPU, each model held out. Nothing is
predicted by a constant that saw what the task holds out.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from time_no_log import guesses, order_right, scored
from time_rows import pairs_of, read_time_rows
from time_rules import RULES, median_of_other_models, power_law
from time_score import line, score
from time_shapes import shaped
from time_tasks import HOLD_OUTS, as_shipped, by_rule, ours

from gpuplan.data.derates import shipped_tables

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from time_no_log import Guess
    from time_rows import Pair, Rows, TimeRow
    from time_score import Score

__all__ = ["main"]

RESULT = Path(__file__).parent / "results" / "time.json"


def main(arguments: Sequence[str]) -> int:
    """Print the scores of the files; 2 if one cannot be read."""
    options = _parser().parse_args(arguments)
    started = time.perf_counter()
    try:
        read = read_time_rows(options.files)
    except OSError as error:
        print(f"{error.filename} cannot be read: {error.strerror}", file=sys.stderr)
        return 2
    _print_left_out(read)
    _print_recast(read.rows)
    result = _result(read.rows)
    result["seconds"] = round(time.perf_counter() - started, 1)
    if options.result:
        options.result.write_text(f"{json.dumps(result, indent=1)}\n", encoding="utf-8")
    print(json.dumps(result))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="accuracy.py time", description=__doc__)
    parser.add_argument("files", type=Path, nargs="+", help="columns of time_single.csv")
    parser.add_argument("--result", type=Path, default=RESULT, help="where the scores are written as JSON")
    return parser


def _print_left_out(read: Rows) -> None:
    print(f"{len(read.rows)} settings measured; left out: {sum(read.left_out.values())} rows")
    for reason, count in read.left_out.most_common():
        print(f"{count:6} {reason}")


def _print_recast(rows: Sequence[TimeRow]) -> None:
    recast = Counter(row.model for row in rows if row.family.endswith(" amp") and row.level != "half")
    if recast:
        models = ", ".join(f"{count} of {model}" for model, count in recast.most_common())
        print(f"called fp16, and computed in fp32 or TF32 (time_names.py): {models}")


def _result(rows: Sequence[TimeRow]) -> dict[str, Any]:
    pairs = pairs_of(rows)
    far = [pair for pair in pairs if pair.source.generation != pair.target.generation]
    known = _one_log(pairs, rows)
    unseen = _unseen_chip(far, pairs, rows)
    blind = _no_log(rows)
    _print_table("one log on another GPU", known, rows)
    _print_table("one log, and the chip never seen", unseen, rows)
    _print_table("no log, public dimensions", {name: one for name, (one, _) in blind.items()}, rows)
    rules = {name: found.median_abs_pct for name, found in unseen.items() if name.startswith("rule: ")}
    best = min((value for value in rules.values() if value is not None), default=None)
    return (
        known["ours, the model held out"].as_json()
        | {"others": _jsons(known, without="ours, the model held out")}
        | {"unseen_chip": unseen["ours, the chip held out"].as_json() | {"best_rule_median_abs_pct": best}}
        | {"unseen_chip_others": _jsons(unseen, without="ours, the chip held out")}
        | {"no_log": _blind_json(blind, "the model held out")}
        | {"no_log_others": {name: _blind_json(blind, name) for name in blind if name != "the model held out"}}
    )


def _one_log(pairs: Sequence[Pair], rows: Sequence[TimeRow]) -> dict[str, Score]:
    shipped = shipped_tables()
    found = {
        f"ours, the {name} held out": score(ours(pairs, rows, HOLD_OUTS[name], shipped))
        for name in ("model", "architecture", "family")
    }
    found["ours as it ships, nothing held out"] = score(as_shipped(pairs, shipped))
    found |= {f"rule: {name}": score(by_rule(pairs, rule)) for name, rule in RULES.items()}
    others = median_of_other_models(pairs, lambda one, other: one.source.sample.model == other.source.sample.model)
    return found | {"rule: median of other models": score(by_rule(pairs, others))}


def _unseen_chip(far: Sequence[Pair], pairs: Sequence[Pair], rows: Sequence[TimeRow]) -> dict[str, Score]:
    shipped = shipped_tables()
    found = {
        f"ours, the {name} held out": score(ours(far, rows, HOLD_OUTS[name], shipped))
        for name in ("chip", "chip and model")
    }
    found |= {f"rule: {name}": score(by_rule(far, rule)) for name, rule in RULES.items()}
    law = power_law(
        pairs,
        held_out=lambda pair: pair.target.generation,
        excluded=lambda pair, chip: chip in (pair.source.generation, pair.target.generation),
    )
    return found | {"rule: flops^a bw^b, fitted": score(by_rule(far, law))}


class _Blind(NamedTuple):
    score: Score
    faster_right_pct: float | None


def _no_log(rows: Sequence[TimeRow]) -> dict[str, _Blind]:
    """Of all rows whose model has public dimensions."""
    steps = [step for row in rows if (step := shaped(row))]
    widths = shipped_tables().widths
    found = {
        "the model held out": guesses(steps, rows, widths=widths),
        "its relatives held out too": guesses(steps, rows, widths=widths, architecture=True),
        "model and chip held out": guesses(steps, rows, widths=widths, chip=True),
    }
    return {name: _blind(made, len(steps)) for name, made in found.items()}


def _blind(made: Sequence[Guess], asked: int) -> _Blind:
    share = round(len(made) / asked, 4) if asked else None
    return _Blind(score(scored(made))._replace(answered=share), order_right(made))


def _blind_json(blind: Mapping[str, _Blind], name: str) -> dict[str, Any]:
    return blind[name].score.as_json() | {"faster_right_pct": blind[name].faster_right_pct}


def _jsons(found: Mapping[str, Score], *, without: str) -> dict[str, Any]:
    return {name: one.as_json() for name, one in found.items() if name != without}


def _short(family: str) -> str:
    return family.replace("lambda ", "L").replace("fp32/tf32", "32")[-9:]


def _print_table(title: str, found: Mapping[str, Score], rows: Sequence[TimeRow]) -> None:
    families = sorted({row.family for row in rows})
    heads = (*(_short(family) for family in families), "macro", "mean", "median", "<20%", "covered")
    print(f"\n{title + ', error in %':40}" + "".join(f"{head:>10}" for head in heads))
    for name, one in found.items():
        print(line(name, one, families))
