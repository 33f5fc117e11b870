"""What may be asked, and when an earlier answer still holds."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gpuplan.errors import UserError
from gpuplan.model import Footprint
from gpuplan.trace import trace

if TYPE_CHECKING:
    from collections.abc import Callable

    from gpuplan.trace import Traced

PROGRAMS = Path(__file__).parent / "programs"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A working directory of the test's own."""
    shutil.copy(PROGRAMS / "habits.py", tmp_path / "habits.py")
    (tmp_path / "config.json").write_text('{"factor": 2}')
    return tmp_path


def run(folder: Path, **settings: int) -> Traced:
    return trace(
        "habits:configured",
        {"batch_size": 4, **settings},
        workdir=folder,
        micro_batch="batch_size",
        batches=(4,),
        cache_folder=folder / "cache",
    )


def test_an_answer_is_kept_until_something_changes(folder: Path) -> None:
    first, again = run(folder), run(folder)
    assert (first.from_cache, again.from_cache) == (False, True)
    assert again.parts == first.parts
    assert again.footprint.versions["torch"]
    assert run(folder, other=1).from_cache is False
    (folder / "config.json").write_text('{"factor": 3}')
    changed = run(folder)
    assert changed.from_cache is False
    assert changed.footprint.flops(4) == 1.5 * first.footprint.flops(4)
    (folder / "habits.py").write_text((folder / "habits.py").read_text() + "\nMORE = 1\n")
    assert run(folder).from_cache is False
    assert run(folder).from_cache is True


@pytest.mark.parametrize("content", ["", "{", "[]", '{"digests": 3}', '{"digests": [], "packages": [["/no", 1, 2]]}'])
def test_a_damaged_answer_is_traced_again(folder: Path, content: str) -> None:
    from gpuplan.trace import cache

    (folder / "key.json").write_text(content)
    assert cache.load(folder, "key") is None


def test_the_footprint_is_the_noun_that_the_planner_takes(folder: Path) -> None:
    footprint = run(folder).footprint
    assert Footprint.model_validate(json.loads(footprint.model_dump_json())) == footprint
    assert footprint.source == "traced"
    assert footprint.because.startswith("habits:configured was traced at batch 4 with torch ")


def asks(**changes: object) -> Callable[[], Traced]:
    arguments: dict[str, object] = {"workdir": PROGRAMS, "micro_batch": "batch_size", **changes}
    target = str(arguments.pop("target", "decoder:make_step"))
    return lambda: trace(target, {"batch_size": 4}, **arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (asks(target="decoder"), "'decoder' is not a function to trace"),
        (asks(target="de coder:step; rm -rf"), "is not a function to trace"),
        (asks(workdir=PROGRAMS / "nowhere"), "there is no folder"),
        (asks(compute_capability="sm80"), "'sm80' is not a compute capability"),
        (asks(batches=(1, 2, 3)), "cannot trace at the batches"),
        (asks(batches=(0,)), "cannot trace at the batches"),
        (asks(micro_batch="rows"), "the setting 'rows' is no micro-batch: None"),
    ],
)
def test_what_makes_no_sense_is_refused(ask: Callable[[], Traced], message: str) -> None:
    with pytest.raises(UserError) as caught:
        ask()
    assert message in caught.value.message
    assert caught.value.hint
