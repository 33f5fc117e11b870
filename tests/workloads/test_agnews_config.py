"""Settings: from the command line, gpuplan's environment and the manifest, and what is refused."""

from __future__ import annotations

import shlex
import string
import subprocess
import sys
import tomllib
from dataclasses import asdict, fields
from importlib import resources

import pytest

from gpuplan.workloads.agnews.__main__ import main
from gpuplan.workloads.agnews.config import Config, check_ranks, flag, from_settings, parse
from gpuplan.workloads.agnews.errors import WorkloadError

MANIFEST = tomllib.loads((resources.files("gpuplan.workloads.agnews") / "workload.toml").read_text("utf-8"))


def test_defaults_are_system_e_small() -> None:
    config = parse([], {})
    assert (config.d_model, config.layers, config.heads, config.feedforward) == (128, 2, 4, 256)
    assert (config.vocabulary, config.classes, config.batch_size, config.seed) == (20000, 4, 32, 0)


def test_gpuplans_environment_fills_what_is_not_given() -> None:
    environment = {"GPUPLAN_SEED": "7", "GPUPLAN_RUN_DIR": "/runs/a", "GPUPLAN_RESUME": "checkpoint-3"}
    config = parse([], environment)
    assert (config.seed, config.output_dir, config.resume) == (7, "/runs/a", "checkpoint-3")
    config = parse(["--seed", "1", "--output-dir", "here", "--resume", ""], environment)
    assert (config.seed, config.output_dir, config.resume) == (1, "here", "")


def test_empty_variables_count_as_absent() -> None:
    assert parse([], {"GPUPLAN_SEED": "", "GPUPLAN_RESUME": ""}) == Config()


def test_a_bad_seed_names_the_variable_it_came_from() -> None:
    with pytest.raises(WorkloadError, match="GPUPLAN_SEED seven: a whole number is wanted"):
        parse([], {"GPUPLAN_SEED": "seven"})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": "many"}, "--epochs many: a whole number is wanted"),
        ({"epochs": 0}, "--epochs 0: at least 1 is wanted"),
        ({"learning_rate": "fast"}, "--learning-rate fast: a number is wanted"),
        ({"learning_rate": "nan"}, "--learning-rate nan: at least 0 is wanted"),
        ({"learning_rate": "inf"}, "--learning-rate inf"),
        ({"learning_rate": 0}, "nothing would be learnt"),
        ({"shard": "maybe"}, "--shard maybe: true or false is wanted"),
        ({"control": "labels"}, "--control labels: one of none, shuffled-labels is wanted"),
        ({"precision": "fp16"}, "--precision fp16: one of fp32, bf16 is wanted"),
        ({"dropout": 1.0}, "--dropout 1.0: below 1 is wanted"),
        ({"dropout": -0.1}, "--dropout -0.1: at least 0 is wanted"),
        ({"d_model": 10}, "--d-model 10 must be even and divisible by --heads 4"),
        ({"d_model": 9, "heads": 3}, "--d-model 9 must be even"),
    ],
)
def test_bad_settings_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(WorkloadError, match=message):
        from_settings(settings)


def test_a_hint_for_the_width_is_a_width_that_works() -> None:
    with pytest.raises(WorkloadError) as caught:
        from_settings({"d_model": 10, "heads": 6})
    assert from_settings({"d_model": int(caught.value.hint.split()[-1]), "heads": 6}).d_model == 12


def test_the_global_batch_must_divide_among_the_ranks() -> None:
    with pytest.raises(WorkloadError, match=r"--batch-size 6 .* 4 ranks") as caught:
        check_ranks(Config(batch_size=6), world_size=4)
    assert "such as 8" in caught.value.hint
    check_ranks(Config(batch_size=6, shard=False), world_size=4)
    check_ranks(Config(batch_size=8), world_size=4)


def test_refusals_have_exit_code_2_and_no_traceback(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("RANK", "1")
    assert main(["--batch-size", "6"]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert errors[0].startswith("rank 1: error: --batch-size 6")
    assert errors[1].startswith("rank 1: hint: ")


def test_help_names_every_option_and_imports_no_torch() -> None:
    code = (
        "import sys; from gpuplan.workloads.agnews.__main__ import main\n"
        "try: main(['--help'])\n"
        "finally: assert 'torch' not in sys.modules and 'datasets' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    for item in fields(Config):
        assert flag(item.name) in done.stdout


def test_the_manifest_has_our_settings_and_defaults() -> None:
    config = asdict(Config())
    assert MANIFEST["settings"] == {name: config[name] for name in MANIFEST["settings"]}
    assert set(config) - set(MANIFEST["settings"]) == {"seed", "resume", "output_dir", "classes"}


def test_the_manifests_command_gives_every_setting() -> None:
    settings = MANIFEST["settings"] | {"run_dir": "runs/x"}
    names = {name for _, name, _, _ in string.Formatter().parse(MANIFEST["command"]) if name}
    assert names == set(settings)
    words = shlex.split(MANIFEST["command"].format(**settings))
    assert words[:3] == ["python", "-m", "gpuplan.workloads.agnews"]
    assert parse(words[3:], {"GPUPLAN_SEED": "3"}) == Config(seed=3, output_dir="runs/x")


def test_the_manifests_way_to_resume_is_ours() -> None:
    words = shlex.split(MANIFEST["checkpoint"]["resume"].format(checkpoint="checkpoint-7"))
    assert parse(words, {}).resume == "checkpoint-7"
    assert MANIFEST["checkpoint"]["keep"] == Config().keep


def test_the_manifest_names_settings_that_are_there() -> None:
    model = {name: value for name, value in MANIFEST["footprint"]["model"].items() if name not in {"kind", "optimizer"}}
    assert model.pop("classes") == Config().classes
    assert {*MANIFEST["roles"].values(), *model.values()} <= set(MANIFEST["settings"])
