"""The documentation is complete and fresh: pages made from the code, every verb, exit code and variable named."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from gpuplan import errors
from gpuplan.cli.main import VERBS
from gpuplan.expand import count, expand
from gpuplan.report.expect import check
from gpuplan.spec import spec_of
from gpuplan.spec.read import read_text

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"


def all_docs() -> str:
    return "\n".join(path.read_text("utf-8") for path in [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))])


def test_pages_made_from_the_code_are_fresh() -> None:
    command = [sys.executable, str(DOCS / "generate.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}\nmake docs"


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_is_documented(verb: str) -> None:
    assert f"## gpuplan {verb}\n" in (DOCS / "reference" / "cli.md").read_text("utf-8")


def test_every_exit_code_is_documented() -> None:
    page = (DOCS / "reference" / "protocol.md").read_text("utf-8")
    codes = [value for name, value in vars(errors).items() if name.startswith("EXIT_")]
    assert all(f"| {code} |" in page for code in [0, *codes])


def test_every_environment_variable_is_documented() -> None:
    page = (DOCS / "reference" / "protocol.md").read_text("utf-8")
    source = "\n".join(path.read_text("utf-8") for path in (ROOT / "src").rglob("*.py"))
    names = set(re.findall(r"\bGPUPLAN_[A-Z][A-Z_]*[A-Z]\b", source))
    assert not sorted(name for name in names if f"`{name}`" not in page)


def test_links_between_pages_lead_somewhere() -> None:
    for page in [ROOT / "README.md", *DOCS.rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text("utf-8")):
            assert (page.parent / target).exists(), f"{page}: {target}"


@pytest.mark.parametrize("system", ["agnews", "pagating", "sapo", "lora", "scientist"])
def test_each_system_has_its_page(system: str) -> None:
    assert (DOCS / "howto" / f"{system}.md").is_file()
    assert f"howto/{system}.md" in all_docs()


def blocks(page: Path) -> list[str]:
    found = re.findall(r"```yaml\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
    return [text for text in found if text.startswith("name:")]


@pytest.mark.parametrize("page", sorted(DOCS.rglob("*.md")), ids=lambda page: page.stem)
def test_specs_in_the_pages_are_sound(page: Path) -> None:
    for text in blocks(page):
        spec = spec_of(read_text(text.encode(), "page.yaml"))
        assert check(spec.experiment) == ()
        assert (
            len({run.name for run in expand(spec.experiment)}) == count(spec.experiment).runs or spec.experiment.stages
        )
