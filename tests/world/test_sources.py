"""The small files that runs read, as they lie on a disk: code, configurations, requirements, rewards."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from gpuplan.expand import expand
from gpuplan.model import CommandFact, Experiment, SourceFact
from gpuplan.world.sources import source_facts

if TYPE_CHECKING:
    from pathlib import Path


def facts(folder: Path, script: str = "train.py", **spec: Any) -> dict[str, SourceFact]:
    """By their paths, of an experiment in the folder."""
    keys = {"name": "a", "command": f"python {script} --lr {{lr}}", "settings": {"lr": 0.1}, **spec}
    of = Experiment.model_validate(keys)
    program = CommandFact(program=f"python {script}", path=str(folder / script))
    return {fact.path: fact for fact in source_facts(of, expand(of), [program], folder)}


def write(folder: Path, **files: str) -> None:
    """Files by their names, in which `__` stands for a slash and `_DOT_` for a dot."""
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("_DOT_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_the_script_comes_with_the_modules_beside_it_that_it_imports(tmp_path: Path) -> None:
    write(
        tmp_path,
        train_DOT_py="import json, torch\nimport helper\nfrom parts.sub import x\n",
        helper_DOT_py="h = 1\n",
        other_DOT_py="o = 1\n",
        json_DOT_py="j = 1\n",
        parts__sub__deep_DOT_py="d = 1\n",
    )
    found = facts(tmp_path)
    assert list(found) == ["train.py", "helper.py", "parts/sub/deep.py"]
    assert found["helper.py"].text == "h = 1\n"
    assert {fact.kind for fact in found.values()} == {"script"}


def test_a_module_of_a_package_comes_with_all_of_it(tmp_path: Path) -> None:
    names = ("pkg/__init__.py", "pkg/run/__init__.py", "pkg/run/main.py", "pkg/data.py", "beside.py")
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x = 1\n")
    assert set(facts(tmp_path, "pkg/run/main.py")) == set(names) - {"beside.py"}


def test_a_folder_of_data_with_the_name_of_a_module_costs_nothing(tmp_path: Path) -> None:
    write(tmp_path, train_DOT_py="import data\n", data__a_DOT_py="x = 1\n")
    for number in range(3000):
        (tmp_path / "data" / f"{number}.bin").touch()
    (tmp_path / "data" / "loop").symlink_to(tmp_path / "data")
    assert len(facts(tmp_path)) <= 2


def test_what_was_installed_and_what_is_built_in_is_nobodys_own_code(tmp_path: Path) -> None:
    write(tmp_path, **{"lib__site-packages__tool_DOT_py": "x = 1\n"})
    assert facts(tmp_path, "lib/site-packages/tool.py") == {}
    of = Experiment.model_validate({"name": "a", "workload": "agnews"})
    assert source_facts(of, expand(of), [CommandFact(program="python", path=str(tmp_path / "x.py"))], tmp_path) == ()


@pytest.mark.parametrize(
    ("command", "settings"),
    [
        ("python train.py --config cfg.yaml", {}),
        ("python train.py config={config} --out {run_dir}", {"config": "cfg.yaml"}),
        ("python train.py --config=cfg.yaml", {}),
        ("python reads.py", {}),
    ],
)
def test_configurations_that_a_command_or_its_script_names(tmp_path: Path, command: str, settings: Any) -> None:
    write(
        tmp_path,
        train_DOT_py="x = 1\n",
        reads_DOT_py="load('cfg.yaml')\n",
        cfg_DOT_yaml="a:\n  b: [1, 2]\n  c: cuda:1\n",
    )
    script = command.split()[1]
    found = facts(tmp_path, script, command=command, settings=settings)["cfg.yaml"]
    assert found.content == {"a": {"b": [1, 2], "c": "cuda:1"}}
    assert found.places["a.c"] == "cfg.yaml:3:3"


def test_an_input_may_be_a_configuration(tmp_path: Path) -> None:
    write(tmp_path, bfts_config_DOT_yaml="exec: {timeout: 3}\n", data_DOT_json="{}")
    found = facts(tmp_path, inputs=[{"path": "bfts_config.yaml"}, {"path": "data.json"}])
    assert list(found) == ["bfts_config.yaml"]


@pytest.mark.parametrize("text", ["a: [", "- 1\n- 2\n", "a: !x 1\n", "\0", "a: 1\n" * 40_000])
def test_configurations_that_cannot_be_read_are_left_out(tmp_path: Path, text: str) -> None:
    write(tmp_path, cfg_DOT_yaml=text)
    assert facts(tmp_path, command="python train.py --config cfg.yaml") == {}


def test_lists_of_requirements_beside_the_script_and_in_the_folder(tmp_path: Path) -> None:
    write(
        tmp_path,
        scripts__train_DOT_py="x = 1\n",
        scripts__requirements_DOT_txt="torch\n",
        requirements_DOT_txt="numpy\n",
        Dockerfile="FROM x\n",
        notes_DOT_txt="torch\n",
    )
    found = facts(tmp_path, "scripts/train.py")
    lists = [path for path, fact in found.items() if fact.kind == "requirements"]
    assert lists == ["requirements.txt", "Dockerfile", "scripts/requirements.txt"]


@pytest.mark.parametrize(
    ("name", "text", "counts"),
    [
        ("a.csv", "step,reward\n1,0\n2,0.0\n3,\n", {"reward": {"rows": 3, "zero": 2, "empty": 1}}),
        ("a.tsv", "reward\tx\n0.5\t1\n", {"reward": {"rows": 1, "other": 1}}),
        ("a.jsonl", '{"reward": 0}\n\n{"reward": null}\n{"x": 1}\n', {"reward": {"rows": 2, "zero": 1, "empty": 1}}),
        ("a.csv", "step,loss\n1,0\n", None),
        ("a.jsonl", '{"reward": 1}\n{"rew', None),
        ("a.jsonl", "[1]\n", None),
        ("a.csv", "", None),
        ("a.bin", "reward\n0\n", None),
    ],
)
def test_rewards_in_the_data(tmp_path: Path, name: str, text: str, counts: dict[str, Any] | None) -> None:
    (tmp_path / name).write_text(text)
    found = facts(tmp_path, inputs=[{"path": name}])
    assert [fact.content for fact in found.values()] == ([counts] if counts else [])
