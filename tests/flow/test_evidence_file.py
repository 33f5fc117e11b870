"""Evidence as a file: nothing secret goes out, nothing that is no fact comes in, and no file makes it wait."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from gpuplan.errors import UserError
from gpuplan.flow import evidence_file
from gpuplan.flow.evidence_file import export_evidence, import_evidence, redacted
from gpuplan.flow.state import State
from gpuplan.model import Evidence, Measurement


def fact(**changes: Any) -> Evidence:
    values: dict[str, Any] = {
        "id": "0123456789abcdef",
        "kind": "log",
        "experiment": "sweep",
        "run": "lr-1",
        "settings": {"lr": 0.1},
        "command": "python train.py --lr {lr}",
        "gpu": "V100 SXM2 16GB",
        "measurement": Measurement(step_s=0.1, steps=100),
        "taken": "2026-11-20",
    }
    return Evidence(**(values | changes))


def line(**changes: Any) -> str:
    """One line of a file, changed where no Evidence could be."""
    content = json.loads(fact().model_dump_json())
    for name, value in changes.items():
        (content["measurement"] if name in Measurement.model_fields else content)[name] = value
    return json.dumps(content)


@pytest.fixture
def state(tmp_path: Path) -> State:
    return State(tmp_path / "state")


def kept(state: State) -> list[Evidence]:
    with state.reading() as store:
        assert store is not None
        return list(store.evidence())


# ---------------------------------------------------------------- in


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (line(step_s=-5), "measurement.step_s: -5"),
        (line(step_s=0), "measurement.step_s: 0"),
        (line(step_s=float("nan")), "measurement.step_s: Input should be a finite number"),
        (line(step_s=1e12), "measurement.step_s: 1e+12"),
        (line(step_p10_s=0.2), "do not grow"),
        (line(samples_per_s=-1), "measurement.samples_per_s"),
        (line(peak_device_bytes=-1), "measurement.peak_device_bytes"),
        (line(device_busy=7), "measurement.device_busy"),
        (line(steps=-3), "measurement.steps"),
        (line(samples_per_epoch_by_rank=[1, -1]), "measurement.samples_per_epoch_by_rank"),
        (line(ranks=0), "ranks: 0"),
        (line(step_s=None), "nothing was measured"),
        (line(gpu="XPU 9"), "gpu: 'XPU 9' is not known"),
        (line(id=""), "id: ''"),
        (line(taken="yesterday"), "taken: 'yesterday'"),
        (line(colour="red"), "colour: Extra inputs"),
        ("{broken", "Invalid JSON"),
        ("[1]", "should be an object"),
        ("x" * (evidence_file.MOST_LINE_BYTES + 1), "longer than"),
    ],
)
def test_a_line_that_is_no_fact_is_named_and_the_others_count(
    tmp_path: Path, state: State, content: str, reason: str
) -> None:
    path = tmp_path / "facts.jsonl"
    path.write_text(f"\ufeff{line(id='first')}\r\n\n{content}\n  \n{line(id='last')}", "utf-8")
    found = import_evidence(state, path)
    assert (found.new, found.known) == (2, 0)
    (refused,) = found.refused
    assert refused.startswith(f"{path}:3: ")
    assert reason in refused
    assert {one.id for one in kept(state)} == {"first", "last"}


def test_a_gpu_is_known_by_any_of_its_names_and_a_cpu_by_its_own(tmp_path: Path, state: State) -> None:
    path = tmp_path / "facts.jsonl"
    names = ("Tesla V100-SXM2-16GB", "EPYC of another machine, 2 threads")
    path.write_text("\n".join(line(id=f"f{number}", gpu=name) for number, name in enumerate(names)), "utf-8")
    assert import_evidence(state, path).refused == ()
    assert [one.gpu for one in kept(state)] == [fact().gpu, names[1]]


def test_what_is_no_file_of_an_end_is_refused_at_once(tmp_path: Path, state: State) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (Path("/dev/zero"), tmp_path / "pipe", tmp_path):
        with pytest.raises(UserError, match="not a regular file"):
            import_evidence(state, path)
    with pytest.raises(UserError, match="is not there"):
        import_evidence(state, tmp_path / "nowhere")
    with (tmp_path / "large").open("wb") as file:
        file.truncate(evidence_file.MOST_BYTES + 1)
    with pytest.raises(UserError, match="larger than 512 MiB"):
        import_evidence(state, tmp_path / "large")


def test_more_lines_than_it_reads_are_said(tmp_path: Path, state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence_file, "MOST_LINES", 3)
    path = tmp_path / "facts.jsonl"
    path.write_text("".join(f"{line(id=f'f{number}')}\n" for number in range(5)), "utf-8")
    found = import_evidence(state, path)
    assert found.new == 3
    assert found.refused == (f"{path}:4: only the first 3 lines are read: split -n l/8 FILE",)


def test_what_was_written_can_be_read(tmp_path: Path, state: State) -> None:
    facts = [fact(id="a1"), fact(id="a2", gpu="AMD EPYC, 2 threads", threads=2, log="runs/a:1-20")]
    with state.writing() as store:
        store.add_evidence(facts)
    assert export_evidence(state, tmp_path / "facts.jsonl", nameless=False) == 2
    other = State(tmp_path / "other")
    assert import_evidence(other, tmp_path / "facts.jsonl") == (2, 0, ())
    assert kept(other) == facts


# ---------------------------------------------------------------- out


@pytest.mark.parametrize(
    "command",
    [
        "python train.py --api-key hunter2",
        "python train.py --password 'hunter2 hunter2'",
        "python train.py --password=hunter2,hunter2 --lr 0.1",
        "WANDB_API_KEY=hunter2 python train.py",
        "python train.py --db postgres://me:p@hunter2@host/runs",
        "python train.py --repo https://hunter2@github.com/me/code",
        "python train.py --data 'https://store/x?sig=hunter2&v=1'",
        "python train.py --header 'Authorization: token hunter2'",
        'python train.py --config \'{"secret": "hunter2"}\'',
        "python train.py --wandb_key hunter2",
        "curl -u me:hunter2 https://host",
        "sh -c 'wandb login hunter2hunter2hunter2hunter2hunter2'",
        "python train.py --jwt eyJhbGciOiJIUzI1.hunter2.hunter2",
    ],
)
def test_no_secret_of_a_command_goes_out(tmp_path: Path, state: State, command: str) -> None:
    with state.writing() as store:
        store.add_evidence([fact(command=command, log="logs/token=hunter2/a.log", settings={"extra": command})])
    for nameless in (False, True):
        export_evidence(state, tmp_path / "facts.jsonl", nameless=nameless)
        assert "hunter2" not in (tmp_path / "facts.jsonl").read_text("utf-8")
    assert command in kept(state)[0].command


@pytest.mark.parametrize(
    "command",
    [
        "python train.py --max-token 512 --tokenizer gpt2 --tokens_per_batch 64",
        "python train.py --token {token} --password $PASSWORD --api-key ${KEY}",
        "python train.py --use-auth-token true num_key_value_heads=8",
        "torchrun --nproc-per-node 4 train.py --model meta-llama/Llama-3.1-8B --author bob",
        "python train.py --gradient_accumulation_steps_per_device_4 --data s3://bucket/a/b",
    ],
)
def test_what_is_no_secret_stays(command: str) -> None:
    assert redacted(fact(command=command)).command == command


def test_settings_are_secret_by_their_names() -> None:
    settings = {"api_key": "abc", "password": 1234, "max_token": 512, "lr": 0.1, "tokenizer": "gpt2", "use_key": True}
    assert redacted(fact(settings=settings)).settings == settings | {"api_key": "***", "password": "***"}
