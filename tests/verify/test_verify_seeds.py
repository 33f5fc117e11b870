"""Seeds of ranks, copies and repeats that overlap, as those of the swarm's nodes did."""

from __future__ import annotations

import pytest
from verify_world import experiment, found, only, world

from gpuplan.model import SourceFact, World
from gpuplan.verify.seeds import IN_CODE


def code(text: str) -> World:
    return world(sources=[SourceFact(path="node.py", kind="script", text=f"import os\n{text}\n")])


def test_copies_of_neighbouring_seeds_are_no_independent_repeats() -> None:
    finding = only("seed-overlap", experiment(copies=8, seeds=[42, 44]), given=code("s = args.seed + node_id"))
    assert (finding.severity, finding.place) == ("warning", "seeds")
    assert finding.message == "the copies of seeds 42 and 44 have 6 of 8 seeds in common: no independent repeats"
    assert finding.because.startswith("`args.seed + node_id` at node.py:2: the copies of seed 42 have 42 to 49")
    assert finding.fix == "seeds at least 8 apart, as in `seeds: [42, 142]`"


def test_of_ranks_it_is_a_note() -> None:
    assert only("seed-overlap", experiment(ranks=2), given=code("seed_all(seed + rank)")).severity == "note"


@pytest.mark.parametrize(
    ("copies", "seeds", "text"),
    [
        (8, [42, 50], "s = seed + node_id"),
        (8, [42], "s = seed + node_id"),
        (8, [42, 43], "s = seed + 1000 * node_id"),
        (1, [42, 43], "s = seed + node_id"),
        (8, [42, 43], "# s = seed + node_id"),
    ],
)
def test_seeds_that_are_apart_or_of_one_process_are_fine(copies: int, seeds: list[int], text: str) -> None:
    assert found("seed-overlap", experiment(copies=copies, seeds=seeds), given=code(text)) == []


def test_arithmetic_of_a_shell_is_read() -> None:
    script = "bash -c 'for k in 0 1; do SEED=$(({seed}+k)) python train.py --lr {lr} & done; wait'"
    finding = only("seed-overlap", experiment(command=script, copies=2))
    assert "`$(({seed}+k))` at command" in finding.because


def test_copies_that_are_given_one_seed() -> None:
    finding = only("seed-shared", experiment(copies=8, seeds=[42]))
    assert finding.severity == "warning"
    assert finding.message == "all 8 copies are given one seed, 42"
    assert found("seed-shared", experiment(copies=8, seeds=[42]), given=code("s = seed + rank")) == []
    assert found("seed-shared", experiment(copies=1, seeds=[42])) == []


def test_a_seed_in_a_variable_or_an_option_is_one_for_all_too() -> None:
    spec = experiment(
        seeds=None, copies=4, command="python train.py --lr {lr}", environment={"variables": {"SEED": "7"}}
    )
    assert "7 (SEED)" in only("seed-shared", spec).message
    option = experiment(seeds=None, copies=4, command="python train.py --lr {lr} --seed 7")
    assert "7 (--seed 7)" in only("seed-shared", option).message
    assert found("seed-shared", experiment(seeds=None, copies=4, command="python train.py --lr {lr}")) == []


def test_questions_of_neighbouring_seeds_are_the_same_ones() -> None:
    spec = experiment(copies=4, seeds=[42])
    finding = only("seed-overlap", spec, given=code("from reasoning_gym import x\ns = seed + node_id"))
    assert (finding.severity, finding.place) == ("warning", "node.py:3")
    assert "4 copies with seeds next to each other ask the same questions" in finding.message


@pytest.mark.parametrize(
    ("line", "is_added"),
    [
        ("torch.manual_seed(args.seed + rank)", True),
        ("set_seed(cfg.seed + dist.get_rank())", True),
        ('seed = base_seed + int(os.environ["RANK"])', True),
        ("x = local_rank + seed", True),
        ("np.random.seed(args.seed + worker_id)", False),
        ("s = seed + rank * 1000", False),
        ("s = seed + ranking", False),
        ("s = seed + 3", False),
    ],
)
def test_lines_that_add_a_place_to_a_seed(line: str, is_added: bool) -> None:
    assert (IN_CODE.search(line) is not None) == is_added
