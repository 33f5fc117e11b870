"""Configuration files as they are found: good ones, folders of them, and everything that is none."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from gpuplan.expand import expand
from gpuplan.model import Experiment, FootprintSource
from gpuplan.world.configs import config_fact, config_facts

if TYPE_CHECKING:
    from pathlib import Path


def test_a_file_and_a_folder(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text(json.dumps({"model_type": "llama"}), encoding="utf-8")
    for text in ("model/config.json", "model", str(tmp_path / "model")):
        assert config_fact(text, tmp_path).content == {"model_type": "llama"}


@pytest.mark.parametrize(
    ("written", "said"),
    [
        (b'{"model_type": "lla', "is no JSON"),
        (b"", "is no JSON"),
        (b"\xff\xfe\x00", "is no JSON"),
        (b"[1, 2]", "holds a list"),
        (b"3", "holds a int"),
        (b'{"hidden_size": NaN}', "NaN is no number of JSON"),
        (b"[" * 100_000, "is no JSON"),
    ],
)
def test_what_is_no_configuration(tmp_path: Path, written: bytes, said: str) -> None:
    (tmp_path / "config.json").write_bytes(written)
    found = config_fact("config.json", tmp_path)
    assert found.content is None
    assert found.problem is not None
    assert said in found.problem


def test_what_is_not_there(tmp_path: Path) -> None:
    for text in ("gone.json", "gone/config.json", "\0", "a" * 5000, "~nobody-there/config.json"):
        found = config_fact(text, tmp_path)
        assert found.content is None
        assert found.problem


def test_a_file_for_each_setting_that_the_path_names(tmp_path: Path) -> None:
    for size in ("small", "large"):
        (tmp_path / size).mkdir()
        (tmp_path / size / "config.json").write_text(json.dumps({"model_type": size}), encoding="utf-8")
    source = FootprintSource(model="{size}/config.json")
    asked = Experiment(name="sweep", command="train {size}", vary={"size": ["small", "large"]}, footprint=source)
    found = config_facts(asked, expand(asked), tmp_path)
    assert {text: fact.content for text, fact in found.items()} == {
        "small/config.json": {"model_type": "small"},
        "large/config.json": {"model_type": "large"},
    }
    plain = Experiment(name="sweep", command="train")
    assert config_facts(plain, expand(plain), tmp_path) == {}
