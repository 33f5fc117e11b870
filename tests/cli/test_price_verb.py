"""Plans on what can be rented, as a user asks for them: options, limits, a table of offers, drift, and `price`."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import jsonschema
import pytest
from sweep import Sweep

if TYPE_CHECKING:
    from pathlib import Path

SPEC = """
name: rented
command: python train.py --lr {lr}
settings: {batch: 16, steps: 20000}
vary: {lr: [0.1, 0.2]}
seeds: [1, 2]
environment: {python: PYTHON}
roles: {micro_batch: batch, steps: steps, sequence: 256, learning_rate: lr}
footprint: {model: {kind: decoder, layers: 12, d_model: 768, heads: 12, feedforward: 3072, vocabulary: 50257}}
compute: {on: [vast, runpod], gpus: [RTX 4090]}
"""
TABLE = """gpu,gpus,price,place,available,billing_s,as_of
RTX 4090,1,0.40,my-lab,4,1,2026-11-01
A100 SXM 80GB,1,1.20,my-lab,2,1,2026-11-01
"""


@pytest.fixture
def sweep(tmp_path: Path) -> Sweep:
    (tmp_path / "offers.csv").write_text(TABLE)
    return Sweep(tmp_path, SPEC)


def test_the_options_stand_on_the_screen_with_the_chosen_one_ticked(sweep: Sweep) -> None:
    said = sweep.run("plan").stdout
    assert "Ways to run it" in said
    lines = said.splitlines()
    header = next(line for line in lines if "Cost" in line and "Busy" in line)
    assert header.index("Option") < header.index("Cost") < header.index("Time")
    first = lines[lines.index(header) + 2]
    assert "\N{CHECK MARK}" in first
    assert "RTX 4090 at" in first
    assert "above the least possible" in said
    assert any(line.startswith("! ") and "price at" in line for line in lines)
    assert "next: rent the machines of the ticked option" in said


def test_the_plan_file_holds_options_and_prices_and_validates(sweep: Sweep) -> None:
    schema = json.loads(sweep.run("show", "--schema", "plan").stdout)
    first, second = (json.loads(sweep.run("plan", "--json").stdout) for _ in range(2))
    jsonschema.validate(first, schema)
    assert first == second
    (chosen,) = [option for option in first["options"] if option["chosen"]]
    assert first["options"][0] == chosen
    assert first["totals"]["cost_usd"] == chosen["cost_usd"] == chosen["bill"]["total_usd"]
    assert len(first["placements"]) == 4
    assert {placement["offer"] for placement in first["placements"]} == {one["offer"] for one in chosen["machines"]}


def test_short_options_are_keys_of_the_spec(sweep: Sweep) -> None:
    plan = sweep.json("plan", "--on", "vast", "--gpu", "A100 80GB", "--budget", "90", "--deadline", "3 days")
    experiment = plan["experiment"]
    assert (experiment["compute"]["on"], experiment["compute"]["gpus"]) == (["vast"], ["A100 80GB"])
    assert experiment["limits"]["budget"] == "90.0 USD"
    assert {machine["gpu"] for machine in plan["options"][0]["machines"]} <= {"A100 SXM 80GB", "A100 PCIe 80GB"}


def test_a_budget_that_does_not_pay_for_it_blocks_and_says_what_would(sweep: Sweep) -> None:
    answer = sweep.json("plan", "--budget", "0.1", code=3)
    (finding,) = [one for one in answer["findings"] if one["check"] == "budget"]
    assert "none costs less than" in finding["because"]
    assert not any(option["chosen"] for option in answer["options"])
    assert answer["placements"] == []


def test_a_table_of_ones_own_is_planned_with_apply_refuses_to_rent_and_a_price_that_moved_is_drift(
    sweep: Sweep,
) -> None:
    sweep.write(SPEC.replace("compute: {on: [vast, runpod], gpus: [RTX 4090]}", ""))
    words = ("plan", "--offers", "offers.csv", "--deadline", "2 h", "--cautious", "-o", "plan.json")
    plan = sweep.json(*words)
    assert {machine["place"] for machine in plan["options"][0]["machines"]} == {"my-lab"}
    assert (plan["prices_as_of"], plan["cautious"]) == ("2026-11-01", True)
    said = sweep.run("apply", "plan.json", code=3).stderr
    assert "A100 SXM 80GB at my-lab" in said or "RTX 4090 at my-lab" in said
    assert "it rents nothing yet" in said
    (sweep.folder / "offers.csv").write_text(TABLE.replace("0.40", "0.45"))
    assert "offers or prices have changed" in sweep.run("apply", "plan.json", code=3).stderr


def test_apply_of_a_rented_plan_says_which_machines_are_missing(sweep: Sweep) -> None:
    plan = sweep.json("plan")
    (warning,) = [one for one in plan["findings"] if one["check"] == "place" and "vast" in one["message"]]
    assert warning["severity"] == "warning"
    said = sweep.run("apply", "-y", code=3).stderr
    assert "the plan is for" in said
    assert "RTX 4090 at " in said
    assert "compute.on=[local]" in said
    assert not (sweep.folder / ".gpuplan").exists(), "nothing was begun"


def test_what_is_cheapest_on_this_machine_is_applied_whatever_else_is_on_offer(sweep: Sweep) -> None:
    sweep.write(SPEC.replace("gpus: [RTX 4090]", "").replace("[vast, runpod], ", "[local, vast]"))
    plan = sweep.json("plan", "-o", "plan.json")
    assert {placement["offer"] for placement in plan["placements"]} == {"local"}
    assert "next: gpuplan apply plan.json" in sweep.run("plan", "-q", "-o", "plan.json").stdout
    assert "4 of 4 runs finished" in sweep.run("apply", "plan.json", "-q").stdout


def test_price_is_asked_of_every_place_or_of_those_that_are_named(sweep: Sweep) -> None:
    def places(*words: str) -> set[str]:
        return {machine["place"] for one in sweep.json("price", *words)["by_gpu"] for machine in one["machines"]}

    sweep.write(SPEC.replace(", gpus: [RTX 4090]", ""))
    assert len(places()) > 2
    assert places("--on", "runpod") == {"runpod"}


@pytest.mark.parametrize(
    ("words", "said"), [(("--on", "mars"), "knows no place mars"), (("--gpu", "RTX 4O90"), "did you mean RTX 4090?")]
)
def test_a_price_that_cannot_be_had_ends_with_3_and_says_why(sweep: Sweep, words: tuple[str, str], said: str) -> None:
    out = sweep.run("price", *words, code=3).stdout
    assert said in out
    assert "Ways to run it" not in out, "no table without a row"


def test_a_first_plan_and_better_ones_are_told_on_stderr_while_the_search_goes_on(sweep: Sweep) -> None:
    first, *better = sweep.run("plan").stderr.splitlines()
    assert re.fullmatch(r"\$\d.* in .* on \d x .*RTX 4090 at .*, first plan", first)
    assert all(line.endswith(" % above the least possible") for line in better)
    assert better
    assert len({first, *better}) == 1 + len(better)
    for words in (("plan", "-q"), ("plan", "--json"), ("price", "-q"), ("price", "--json")):
        assert sweep.run(*words).stderr == ""
    assert ", first plan" in sweep.run("price").stderr


def test_stages_have_a_first_plan_too(sweep: Sweep) -> None:
    sweep.write(SPEC + "stages: [{name: try, repeats: 2}, {name: final, settings: {batch: 32}}]\n")
    assert ", first plan" in sweep.run("plan").stderr


def test_a_terminal_has_one_line_that_changes_and_nothing_of_it_stays(sweep: Sweep) -> None:
    screen, terminal = pty.openpty()
    environment = os.environ | {"COLUMNS": "200", "TERM": "xterm"}
    command = [sys.executable, "-m", "gpuplan", "plan"]
    with subprocess.Popen(
        command, cwd=sweep.folder, env=environment, stdout=subprocess.DEVNULL, stderr=terminal
    ) as process:
        os.close(terminal)
        seen = b"".join(iter(lambda: _read(screen), b""))
    os.close(screen)
    assert process.returncode == 0
    assert b"RTX 4090 at" in seen
    assert seen.rstrip().endswith(b"\x1b[2K"), "the line is erased"


def _read(screen: int) -> bytes:
    """What there is to read, nothing at the end: Linux says so with an error."""
    try:
        return os.read(screen, 65_536)
    except OSError:
        return b""


BAD_ROWS = """gpu,gpus,price,place,available,billing_s
RTX 4090,1,nan,my-lab,4,1
RTX 4090,1,-0.40,my-lab,4,1
RTX 4090,1,0,my-lab,4,1
RTX 4090,1,1e400,my-lab,4,1
RTX 4090,-3,0.40,my-lab,4,1
RTX 9999,1,0.40,my-lab,4,1
<html><body>rate limited</body></html>
RTX 4090,1,0.40,my-lab,4,1
"""


def test_rows_that_cannot_be_true_are_left_out_by_name_and_the_plan_comes(sweep: Sweep) -> None:
    (sweep.folder / "offers.csv").write_text(BAD_ROWS)
    sweep.write(SPEC.replace("compute: {on: [vast, runpod], gpus: [RTX 4090]}", "compute: {gpus: [RTX 4090]}"))
    plan = sweep.json("plan", "--offers", "offers.csv", "--set", "compute.on=[slurm]")
    assert {machine["offer"] for machine in plan["options"][0]["machines"]} == {"offers.csv:9"}
    (warning,) = [one for one in plan["findings"] if "left out" in one["message"]]
    assert warning["severity"] == "warning"
    assert "7 offers left out, the first: offers.csv:2" in warning["message"]
    said = sweep.run("offers", "--from", "offers.csv", "--why-not", "--gpu", "RTX 4090").stdout
    assert all(f"offers.csv:{line}" in said for line in range(2, 9))


@pytest.mark.parametrize(
    "content",
    [b"<!DOCTYPE html><html>429</html>", b'{"error": "rate limited"}', b"\xff\xfe\x00\x01", b"", b"price\n0.4\n"],
)
def test_a_table_that_is_none_is_named_and_the_plan_comes_from_the_rest(sweep: Sweep, content: bytes) -> None:
    (sweep.folder / "offers.csv").write_bytes(content)
    plan = sweep.json("plan", "--offers", "offers.csv")
    assert plan["options"][0]["chosen"]
    (warning,) = [one for one in plan["findings"] if one["message"].startswith("offers.csv: ")]
    assert warning["severity"] == "warning"


def test_a_million_rows_are_not_all_read_and_that_is_said(sweep: Sweep) -> None:
    header, rows = TABLE.splitlines()[0], "RTX 4090,1,0.40,my-lab,4,1,2026-11-01\n"
    (sweep.folder / "offers.csv").write_text(f"{header}\n{rows * 1_000_000}")
    plan = sweep.json("plan", "--offers", "offers.csv")
    assert plan["options"][0]["chosen"]
    assert any("950,000 more rows left out" in one["message"] for one in plan["findings"])


def test_a_local_spec_has_no_options(sweep: Sweep) -> None:
    sweep.write(SPEC.replace("compute: {on: [vast, runpod], gpus: [RTX 4090]}", ""))
    plan = sweep.json("plan")
    assert (plan["options"], plan["advice"], plan["prices_as_of"]) == ([], [], None)
    assert {placement["offer"] for placement in plan["placements"]} == {"local"}


def test_a_place_that_nobody_knows_blocks(sweep: Sweep) -> None:
    answer = sweep.json("plan", "--on", "vasst", code=3)
    assert any(one["message"] == "nothing on offer is as wished" for one in answer["findings"])


@pytest.mark.parametrize("words", [("--on", ","), ("--offers", "missing.csv"), ("--budget", "much")])
def test_wrong_options_are_usage(sweep: Sweep, words: tuple[str, ...]) -> None:
    assert sweep.json("plan", *words, code=2)["error"]["message"]


def test_price_asks_everywhere_whatever_the_spec_says(sweep: Sweep) -> None:
    answer = sweep.json("price", "--set", "compute.on=[local]", "--set", "compute.gpus=[]")
    assert answer["schema"] == "gpuplan.price/1"
    assert answer["options"][0]["chosen"]
    kinds = [row["title"] for row in answer["by_gpu"]]
    assert len(kinds) > 15
    assert len(set(kinds)) == len(kinds)
    places = {machine["place"] for row in answer["by_gpu"] for machine in row["machines"]}
    assert len(places) > 3
    assert "local" not in places
    said = sweep.run("price", "--bill").stdout
    assert "The cheapest on each GPU alone" in said
    assert "The bill" in said
