"""Do seeds keep apart what they should? Of the ranks or copies of a run, and of the runs that repeat it."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from gpuplan.verify.case import ranks_at
from gpuplan.verify.commands import command_at
from gpuplan.verify.wanted import words_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpuplan.model import Finding, Run, SourceFact
    from gpuplan.verify.case import Case

__all__ = ["copies_have_seeds", "seeds_overlap"]

WHO = r"(?:local_|global_|node_|world_)?(?:rank|node|copy|replica|process|proc|agent|peer)"
PLACE = (
    rf"(?:int\()?(?:(?:\w+\.)*(?:{WHO}(?:_?(?:id|index|idx|rank|num))?\b(?!\()|get_rank\(\))"
    rf"""|os\.environ(?:\.get\(|\[)["'](?:\w*RANK|NODE\w*)["'])"""
)
SEED = r"(?:\w+\.)*\w*seed\w*"
IN_CODE = re.compile(rf"\b{SEED}\s*\+\s*{PLACE}(?!\s*\*|\w)|\b{PLACE}\s*\+\s*{SEED}\b(?!\s*\*)", re.IGNORECASE)
"""`args.seed + rank`, `SEED + node_id`; not `seed + 1000 * rank`, and not a loader's `seed + worker_id`."""

LONGEST_LINE = 300
"""Characters; code that people write has no longer ones."""

IN_COMMAND = re.compile(r"\$\(\(\s*(?:\{seed\}|\$?\{?\{?\w*seed\w*\}?\}?)\s*\+\s*\$?\{?\w+\}?\s*\)\)", re.IGNORECASE)
SEED_WORD = re.compile(r"(?:^|[-_.])seed$", re.IGNORECASE)
QUESTIONS = "reasoning_gym"
"""Its 0.1.25 draws question i of seed s from Random(s + i), in 104 of its 107 files of data sets and when it mixes."""


class Added(NamedTuple):
    """What shows that a process adds its number to the seed, and where."""

    words: str
    place: str


def seeds_overlap(case: Case) -> Iterator[Finding]:
    """Seeds so near each other that, with the number of a rank or copy added, two runs draw the same."""
    for run in _one_of_each_gang(case):
        added = _added(case, run)
        gang = max(run.ranks, run.copies)
        near = [(one, other) for one, other in pairwise(sorted(set(case.experiment.seeds))) if other - one < gang]
        if added and near:
            yield _overlap(case, run, near, added)
        if added and run.copies > 1 and (user := _user_of_questions(case)):
            yield case.finding(
                "warning",
                "seed-overlap",
                message=f"{run.copies} copies with seeds next to each other ask the same questions, one later each",
                because=f"{added.words} at {added.place}; {QUESTIONS}, which {user} imports, draws a seed's question i "
                "from seed + i",
                fix="let a copy add its number times more than it has questions, as in `seed + 100000 * node`",
                at=added.place,
            )


def copies_have_seeds(case: Case) -> Iterator[Finding]:
    """Copies that are all given one seed: they draw the same rows, unless the program tells itself apart."""
    for run in _one_of_each_gang(case):
        given = _given_seed(case, run)
        if run.copies > 1 and given and not _added(case, run):
            yield case.finding(
                "warning",
                "seed-shared",
                message=f"all {run.copies} copies are given one seed, {given}",
                because="they start with one command line and one environment; what is drawn from the seed is the same "
                "in each",
                fix="let the program add its number to the seed, far apart: `seed + 100000 * node`",
                at=command_at(case.experiment, run),
            )


def _overlap(case: Case, run: Run, near: list[tuple[int, int]], added: Added) -> Finding:
    is_swarm = run.copies > 1
    gang = max(run.ranks, run.copies)
    one, other = near[0]
    what = "copies" if is_swarm else "ranks"
    spaced = ", ".join(str(one + index * max(100, gang)) for index in range(min(3, len(case.experiment.seeds))))
    return case.finding(
        "warning" if is_swarm else "note",
        "seed-overlap",
        message=f"the {what} of seeds {one} and {other} have {gang - (other - one)} of {gang} seeds in common: "
        "no independent repeats",
        because=f"{added.words} at {added.place}: the {what} of seed {one} have {one} to {one + gang - 1}, those of "
        f"{other} have {other} to {other + gang - 1}",
        fix=f"seeds at least {gang} apart, as in `seeds: [{spaced}]`",
        at="seeds" if is_swarm or case.experiment.seeds else ranks_at(case.experiment),
    )


def _one_of_each_gang(case: Case) -> list[Run]:
    """One run of each size of gang, of those that train."""
    found: dict[tuple[str, int, int], Run] = {}
    for run in case.runs:
        if run.train and max(run.ranks, run.copies) > 1:
            found.setdefault((run.command, run.ranks, run.copies), run)
    return list(found.values())


def _added(case: Case, run: Run) -> Added | None:
    shell = IN_COMMAND.search(run.command)
    if shell:
        return Added(f"`{shell[0]}`", case.located(command_at(case.experiment, run)))
    return next((found for source in case.sources("script") if (found := _added_in(source))), None)


def _added_in(source: SourceFact) -> Added | None:
    for number, line in enumerate(source.text.splitlines(), start=1):
        if "+" in line and "seed" in line.lower() and len(line) <= LONGEST_LINE:
            match = IN_CODE.search(line.partition("#")[0])
            if match:
                return Added(f"`{match[0]}`", f"{source.path}:{number}")
    return None


def _user_of_questions(case: Case) -> str | None:
    imports = re.compile(rf"^\s*(?:from|import)\s+{QUESTIONS}\b", re.MULTILINE)
    return next((source.path for source in case.sources("script") if imports.search(source.text)), None)


def _given_seed(case: Case, run: Run) -> str | None:
    """What is given to all copies: by the spec's seeds, by a variable, or by an option of the command."""
    if run.seed is not None:
        return str(run.seed)
    for name, value in case.experiment.environment.variables.items():
        if SEED_WORD.search(name) and value.strip():
            return f"{value} ({name})"
    words = words_of(run.command)
    for word, following in pairwise((*words, "")):
        name, equals, value = word.partition("=")
        value = value if equals else following
        if SEED_WORD.search(name.lstrip("-")) and (equals or word.startswith("--")) and value.isdigit():
            return f"{value} ({word if equals else f'{word} {value}'})"
    return None
