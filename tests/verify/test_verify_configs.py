"""Configuration keys that a program refuses, by its own dataclasses or by what is known of its loader."""

from __future__ import annotations

from typing import Any

import pytest
from verify_world import experiment, found, only, world

from gpuplan.data.loaders import loaders_of
from gpuplan.model import SourceFact, World
from gpuplan.verify.configs import key_paths, refused

LOADER = """\
from dataclasses import dataclass
from typing import Optional
from omegaconf import OmegaConf

@dataclass
class Search:
    depth: int
    drafts: int = 3

@dataclass
class Base:
    name: str

@dataclass
class Config(Base):
    seed: int
    search: Search
    stages: dict[str, int]
    extra: Optional[Search] = None
    other: "Search | None" = None

def load(path):
    return OmegaConf.merge(OmegaConf.structured(Config), OmegaConf.load(path))
"""
SOUND: dict[str, Any] = {"name": "a", "seed": 1, "search": {"depth": 2}, "stages": {"any": 3}, "extra": {"drafts": 1}}


def config(content: dict[str, Any], path: str = "cfg.yaml") -> SourceFact:
    places = {".".join(key): f"{path}:{number}:1" for number, key in enumerate(key_paths(content), start=1)}
    return SourceFact(path=path, kind="config", content=content, places=places)


def given(content: dict[str, Any], loader: str = LOADER, path: str = "cfg.yaml") -> World:
    return world(sources=[SourceFact(path="load.py", kind="script", text=loader), config(content, path)])


def test_a_key_that_is_no_field_blocks_at_its_place() -> None:
    finding = only("config-key", experiment(), given=given({**SOUND, "search": {"depth": 2, "draft": 1}}))
    assert finding.severity == "error"
    assert finding.message == "cfg.yaml has search.draft, which its loader refuses"
    assert finding.place == "cfg.yaml:5:1"
    assert finding.because == (
        "load.py:23 merges it into the dataclass Config, which takes depth, drafts below search and nothing else"
    )
    assert finding.fix == "did you mean drafts?"


@pytest.mark.parametrize("changed", [{}, {"other": {"depth": 1}}, {"stages": {"x": 1, "y": 2}}, {"seed": None}])
def test_fields_inherited_optional_and_open_are_taken(changed: dict[str, Any]) -> None:
    assert found("config-key", experiment(), given=given({**SOUND, **changed})) == []


def test_what_is_below_a_refused_key_is_not_said_again() -> None:
    findings = found("config-key", experiment(), given=given({**SOUND, "gpu": {"count": 3, "type": "L40"}}))
    assert [one.message for one in findings] == ["cfg.yaml has gpu, which its loader refuses"]


@pytest.mark.parametrize("loader", [LOADER.replace("structured(Config)", "create({})"), "def (", ""])
def test_without_a_merge_into_a_dataclass_nothing_is_known(loader: str) -> None:
    assert found("config-key", experiment(), given=given({**SOUND, "gpu": 1}, loader)) == []


def test_a_file_that_the_dataclass_is_not_for_is_left_alone() -> None:
    assert found("config-key", experiment(), given=given({"name": "a", "lr": 1, "steps": 2, "batch": 3})) == []


# ---------------------------------------------------------------- what is known of a loader

BFTS: dict[str, Any] = {
    "exp_name": "run",
    "exec": {"timeout": 3600},
    "experiment": {"num_syn_datasets": 1},
    "agent": {
        "type": "parallel",
        "num_workers": 4,
        "stages": {"stage1_max_iters": 20, "anything": 1},
        "multi_seed_eval": {"num_seeds": 3, "seeds": [1, 2]},
        "code": {"model": "m", "temp": 1.0, "thinking": {"type": "none"}},
    },
}


def test_without_the_code_the_known_keys_warn() -> None:
    wrong = BFTS | {"experiment": {"num_syn_datasets": 1, "scale": {"epochs": 3}}}
    finding = only("config-key", experiment(), given=world(sources=[config(wrong, "bfts_config.yaml")]))
    assert finding.severity == "warning"
    assert finding.message == "bfts_config.yaml has experiment.scale, which its loader refuses"
    assert "SakanaAI/AI-Scientist-v2@defddb8" in finding.because
    assert found("config-key", experiment(), given=world(sources=[config(BFTS, "bfts_config.yaml")])) == []
    assert found("config-key", experiment(), given=world(sources=[config(wrong, "config.yaml")])) == []


def test_keys_of_one_fork_are_fine_together_and_said_where_they_are_mixed() -> None:
    fork = BFTS | {"compute": {"gpu": {"type": "L40", "count": 3, "vram_gb": 48}, "notes": "x"}}
    assert found("config-key", experiment(), given=world(sources=[config(fork, "bfts_config.yaml")])) == []
    mixed = fork | {"compute": {**fork["compute"], "total_pods": 2}}
    finding = only("config-key", experiment(), given=world(sources=[config(mixed, "bfts_config.yaml")]))
    assert "takes compute, but not compute.total_pods" in finding.because


def test_the_code_says_more_than_the_table() -> None:
    loader = LOADER.replace("class Search", "class Exec").replace("search: Search", "exec: Exec")
    loader = loader.replace("Search", "Exec").replace("name: str", "exp_name: str").replace("seed: int", "agent: dict")
    own = {"exp_name": "run", "exec": {"depth": 3}, "agent": {"own": 1}}
    given_code = world(sources=[SourceFact(path="l.py", kind="script", text=loader), config(own, "bfts_config.yaml")])
    assert found("config-key", experiment(), given=given_code) == []


def test_every_known_loader_has_a_source_and_takes_what_it_extends() -> None:
    first, *forks = loaders_of("my/bfts_config.yaml")
    assert first.name == "AI-Scientist-v2"
    assert loaders_of("config.yaml") == ()
    for loader in (first, *forks):
        assert "@" in loader.source or "reference" in loader.source
        assert loader.date.startswith("20")
        assert refused(key_paths(BFTS), loader.keys) == ()


# ---------------------------------------------------------------- a staged search against its GPUs


def search(**agent: Any) -> World:
    return world(sources=[config({"exec": {}, "agent": agent}, "bfts_config.yaml")], devices=3)


def test_seeds_without_a_gpu_train_on_the_cpu() -> None:
    finding = only("search-seeds", experiment(), given=search(multi_seed_eval={"num_seeds": 5}))
    assert finding.severity == "warning"
    assert finding.message == "bfts_config.yaml has 5 seeds on 3 GPUs: 2 of them would train on the CPU"
    assert "seeds 4 to 5 find none" in finding.because
    assert found("search-seeds", experiment(), given=search(multi_seed_eval={"num_seeds": 3})) == []


def test_listed_seeds_are_ignored() -> None:
    finding = only("search-seeds", experiment(), given=search(multi_seed_eval={"num_seeds": 2, "seeds": [42, 123]}))
    assert (finding.severity, finding.place) == ("warning", "bfts_config.yaml:5:1")
    assert "its seeds are 0, 1, 2" in finding.because


def test_workers_beyond_the_gpus_never_start() -> None:
    finding = only("search-workers", experiment(), given=search(num_workers=10))
    assert (finding.severity, finding.place) == ("note", "bfts_config.yaml:3:1")
    assert "a step tries 3 nodes and not 10" in finding.because


def test_elsewhere_the_file_or_the_ranks_say_how_many_gpus() -> None:
    rented = experiment(compute={"on": ["vast"]}, ranks=2)
    stated = {"agent": {"multi_seed_eval": {"num_seeds": 3}}, "compute": {"gpu": {"count": 4}}}
    assert found("search-seeds", rented, given=world(sources=[config(stated, "bfts_config.yaml")])) == []
    assert "on 2 GPUs" in only("search-seeds", rented, given=search(multi_seed_eval={"num_seeds": 3})).message


def test_a_machine_without_gpus_says_nothing_of_seeds() -> None:
    none = search(multi_seed_eval={"num_seeds": 5})
    cpu = none.model_copy(update={"machine": none.machine.model_copy(update={"devices": ()})})
    assert found("search-seeds", experiment(), given=cpu) == []
