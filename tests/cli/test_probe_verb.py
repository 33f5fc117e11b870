"""`gpuplan probe` on real commands: it measures, ends all it started, and says what it could not measure."""

from __future__ import annotations

from pathlib import Path

import pytest
from sweep import SPEC, Sweep

LONG = SPEC.replace("--lr {lr}", "--lr {lr} --rows 80000") + "compute: {threads: 1}\n"


@pytest.fixture
def sweep(tmp_path: Path) -> Sweep:
    return Sweep(tmp_path, LONG)


def processes_in(folder: Path) -> list[str]:
    found = []
    for process in Path("/proc").iterdir():
        try:
            if process.name.isdigit() and (process / "cwd").readlink() == folder:
                found.append(process.name)
        except OSError:
            continue
    return found


def test_a_probe_measures_the_real_command_and_leaves_nothing_behind(sweep: Sweep) -> None:
    answer = sweep.json("probe", "--seconds", "1")
    assert answer["device"]["checked"] in {"measured", "assumed"}
    assert [fact["kind"] for fact in answer["evidence"]] == ["probe"], "seeds and learning rates cost the same"
    assert all(fact["measurement"]["step_s"] > 0.001 for fact in answer["evidence"])
    assert processes_in(sweep.folder) == []
    plan = sweep.json("plan")
    assert {estimate["step_s"]["source"] for estimate in plan["estimates"]} == {"measured"}
    assert plan["totals"]["finished"] == 0


def test_a_command_that_fails_is_named_with_its_last_words(sweep: Sweep) -> None:
    sweep.write(SPEC.replace("--lr {lr}", "--lr {lr} --rows 8 --crash"))
    answer = sweep.json("probe", code=4)
    assert answer["evidence"] == []
    assert all("the data is not what it was" in text for text in answer["refused"])
    said = sweep.run("probe", "-q", code=4).stdout
    assert "! lr0.1-s1: " in said
    assert "Commands" not in said, "no table without a row"
    assert said.endswith("next: gpuplan check\n")
