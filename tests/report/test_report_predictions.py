"""What counts when predictions are held against what was measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

from report_cases import all_finished, quantity, sweep

from gpuplan.report import predictions

if TYPE_CHECKING:
    from gpuplan.model import RunRecord


def guessed(record: RunRecord) -> RunRecord:
    assert record.estimate is not None
    guess = quantity(3600.0, source="assumed")
    return record.model_copy(update={"estimate": record.estimate.model_copy(update={"duration_s": guess})})


def test_a_guess_says_nothing_of_the_method() -> None:
    records = all_finished(sweep())
    told = predictions.sentence(predictions.predictions(records))
    assert "duration off by" in told
    mixed = predictions.predictions([guessed(record) for record in records])
    assert "duration" not in predictions.sentence(mixed)
    table = predictions.accuracy(mixed)
    assert "duration" not in [row[0] for row in table.rows]
    assert f"{len(records)} figures were guesses" in " ".join(table.notes)
