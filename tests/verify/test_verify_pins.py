"""Libraries that are asked for: ranges, companions, kernels, what scripts use of them, and what is missing."""

from __future__ import annotations

from typing import Any

import pytest
from verify_world import experiment, found, only, world

from gpuplan.data.libraries import libraries
from gpuplan.model import SourceFact, World
from gpuplan.verify.pins import script_uses
from gpuplan.verify.requirements import admitted, is_open_list, requirements_in, version_of

RENTED: dict[str, Any] = {"compute": {"on": ["vast"], "gpus": ["RTX 4090"]}}
SCRIPT = """\
from datasets import load_dataset
from transformers import Trainer, TrainingArguments
args = TrainingArguments(output_dir="out", eval_strategy="steps", use_cpu=False)
Trainer(args=args).train()
"""


def lists(**texts: str) -> World:
    """Lists of requirements, and `script`s, by their names; a line ends in a semicolon."""
    sources = [
        SourceFact(path="train.py", kind="script", text=text)
        if name == "script"
        else SourceFact(path=name if name == "Dockerfile" else f"{name}.txt", kind="requirements", text=text)
        for name, text in texts.items()
    ]
    return world(sources=sources)


# ---------------------------------------------------------------- ranges


@pytest.mark.parametrize(
    ("words", "inside", "outside"),
    [
        ("a==2.0", ["2.0", "2.0.0"], ["2.0.1", "1.9"]),
        ("a==2.*", ["2.0", "2.9.1"], ["3.0", "1.9"]),
        ("a~=1.26", ["1.26", "1.99"], ["2.0", "1.25"]),
        ("a~=1.26.1", ["1.26.5"], ["1.27", "1.26.0"]),
        ("a>=1.0,<2", ["1.0", "1.9.9"], ["2.0", "0.9"]),
        ("a > 1.0", ["1.0.1"], ["1.0"]),
        ("a<=1.0, !=0.5", ["1.0", "0.1"], ["1.0.1"]),
        ("A_b.C[extra]===1", ["1.0"], ["1.1"]),
        ("a==2.0.1+cu118", ["2.0.1"], ["2.0"]),
        ("a", ["0.1", "99"], []),
    ],
)
def test_ranges_of_versions(words: str, inside: list[str], outside: list[str]) -> None:
    (one,) = requirements_in(words, "requirements.txt")
    for text in (*inside, *outside):
        assert (one.low <= version_of(text) < one.high) == (text in inside), text


def test_a_list_has_places_and_leaves_out_what_is_no_plain_requirement() -> None:
    text = "torch==2.4  # c\n\n-r more.txt\nx; python_version < '3.8'\ngit+https://e.org/y\n# z\nAda_Lib>=1\n"
    read = list(requirements_in(text, "requirements.txt"))
    assert [(one.name, one.place) for one in read] == [
        ("torch", "requirements.txt:1:1"), ("ada-lib", "requirements.txt:7:1"),
    ]  # fmt: skip
    assert is_open_list(text)
    assert not is_open_list("torch==2.4\n# -r more.txt\n")


def test_pip_lines_of_a_dockerfile_with_their_build() -> None:
    text = (
        "FROM python\nRUN apt-get install -y git && \\\n    pip3 install --no-cache-dir torch==2.0.1 'numpy<2' \\\n"
        "      datasets --index-url https://e.org/whl/cu118\nRUN pip install -r requirements.txt\n"
    )
    read = list(requirements_in(text, "Dockerfile"))
    assert [(one.name, one.cuda) for one in read] == [("torch", 118), ("numpy", None), ("datasets", None)]
    assert read[0].place == "Dockerfile:3:1"


def test_dependencies_of_a_project() -> None:
    text = '[project]\nname = "a"\ndependencies = [\n  "torch>=2.4",  # c\n  "b[x]==1",\n]\n[tool.x]\ny = ["c"]\n'
    assert [(one.name, one.place) for one in requirements_in(text, "pyproject.toml")] == [
        ("torch", "pyproject.toml:4:1"), ("b", "pyproject.toml:5:1"),
    ]  # fmt: skip


def test_ranges_together_are_as_tight_as_the_tightest() -> None:
    found_both = admitted(requirements_in("a>=1\na==1.5\n", "requirements.txt"))
    assert found_both is not None
    assert found_both.words == "a==1.5"
    assert admitted(requirements_in("a>=2\na==1.5\n", "requirements.txt")) is None


# ---------------------------------------------------------------- what cannot work


def test_a_pin_without_what_the_script_uses_blocks_where_the_machine_is_set_up_from_it() -> None:
    given = lists(Dockerfile="RUN pip install transformers==4.30.2\n", script=SCRIPT)
    strategy, cpu = found("library-version", experiment(**RENTED), given=given)
    assert (strategy.severity, strategy.place) == ("error", "Dockerfile:1:1")
    assert strategy.message == (
        "train.py:3 does not work with transformers==4.30.2: TrainingArguments takes eval_strategy from transformers "
        "4.41.0 on only"
    )
    assert "use_cpu from transformers 4.32.0" in cpu.message
    assert {one.severity for one in found("library-version", experiment(), given=given)} == {"warning"}


@pytest.mark.parametrize(
    "words", ["transformers>=4.30.0", "transformers==4.41.0", "transformers", "transformers<5", "x==1"]
)
def test_versions_that_may_have_it_are_fine(words: str) -> None:
    assert found("library-version", experiment(**RENTED), given=lists(requirements=words, script=SCRIPT)) == []


def test_what_went_with_a_version_warns_where_pip_takes_the_newest() -> None:
    old = SCRIPT.replace("eval_strategy", "evaluation_strategy")
    finding = only("library-version", experiment(**RENTED), given=lists(requirements="transformers>=4.30", script=old))
    assert finding.severity == "warning"
    assert "of which pip takes 5.0.0 or a newer one" in finding.message
    pinned = only("library-version", experiment(**RENTED), given=lists(requirements="transformers==4.56", script=old))
    assert pinned.severity == "error"
    assert (
        found("library-version", experiment(**RENTED), given=lists(requirements="transformers<4.46", script=old)) == []
    )


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("from transformers import AdamW", ["AdamW"]),
        (
            "import transformers\nclass T(transformers.Trainer):\n  def training_step(self, a, b): ...",
            ["training_step"],
        ),
        ("import transformers\nclass T(transformers.Trainer):\n  def training_step(self, a, b, c=None): ...", []),
        ("import transformers\nclass T(transformers.Trainer):\n  def compute_loss(self, *a, **k): ...", []),
        ("import transformers\ntry:\n  from transformers import AdamW\nexcept ImportError: pass", []),
        ("import transformers\nnew = transformers.__version__ > '4.41'\nfrom transformers import AdamW", []),
        ("from torch.optim import AdamW  # not transformers", []),
        ("transformers (", []),
    ],
)
def test_uses_that_a_version_decides(text: str, names: list[str]) -> None:
    assert [use.name for use in script_uses(SourceFact(path="t.py", kind="script", text=text))] == names


def test_a_script_that_knows_both_names_is_left_alone() -> None:
    text = SCRIPT + 'TrainingArguments(evaluation_strategy="no")\n'
    assert [use.name for use in script_uses(SourceFact(path="t.py", kind="script", text=text))] == ["use_cpu"]


def test_two_lists_without_a_version_in_common() -> None:
    given = lists(Dockerfile="RUN pip install numpy==1.24.0\n", requirements="pandas\nnumpy>=2.0\n")
    finding = only("library-version", experiment(**RENTED), given=given)
    assert finding.message == "no version of numpy is both numpy==1.24.0 and numpy>=2.0"
    assert (finding.place, "Dockerfile:1:1 asks for the one" in finding.because) == ("requirements.txt:2:1", True)


def test_companions_of_another_release() -> None:
    finding = only("library-version", experiment(), given=lists(requirements="torch==2.4.1\ntorchvision==0.16.2\n"))
    assert finding.message == "torchvision==0.16.2 is built for torch 2.1, not for torch==2.4.1"
    assert finding.fix.startswith("torchvision==0.19.*")
    for fine in ("torch==2.4.1\ntorchvision==0.19.0", "torch>=2\ntorchvision==0.16.2", "torch==2.4.1\ntorchvision"):
        assert found("library-version", experiment(), given=lists(requirements=fine)) == []


@pytest.mark.parametrize(
    ("gpu", "torch", "is_said"),
    [
        ("RTX 5090", "torch==2.6.0", True),
        ("RTX 5090", "torch<2.7", True),
        ("RTX 5090", "torch==2.7.0+cu126", True),
        ("RTX 5090", "torch==2.7.0+cu128", False),
        ("RTX 5090", "torch>=2.4", False),
        ("H100", "torch==1.13.1", True),
        ("H100", "torch==2.0.1+cu117", True),
        ("H100", "torch==2.1", False),
        ("A100", "torch==1.13.1", False),
        ("RTX 4090", "torch==2.0.1+cu118", False),
        ("V100", "torch==1.13.1", False),
    ],
)
def test_kernels_for_the_wished_gpu(gpu: str, torch: str, is_said: bool) -> None:
    spec = experiment(compute={"on": ["vast"], "gpus": [gpu]})
    findings = found("library-version", spec, given=lists(requirements=torch))
    assert [one.severity for one in findings] == (["error"] if is_said else [])
    assert all(f"has no kernels for the {gpu}" in one.message for one in findings)


# ---------------------------------------------------------------- what is missing


def test_an_import_that_no_list_brings() -> None:
    given = lists(requirements="torch\ntransformers\naccelerate\n", script=SCRIPT)
    finding = only("library-missing", experiment(**RENTED), given=given)
    assert (finding.severity, finding.place) == ("warning", "train.py:1:1")
    assert finding.message == "requirements.txt does not bring datasets"


def test_the_trainer_needs_accelerate() -> None:
    given = lists(requirements="torch\ntransformers\ndatasets\n", script=SCRIPT)
    finding = only("library-missing", experiment(**RENTED), given=given)
    assert finding.message == "requirements.txt does not bring accelerate"
    assert "the Trainer that train.py:2 imports from transformers needs it" in finding.because


@pytest.mark.parametrize(
    ("requirements", "spec"),
    [
        ("torch\ntransformers\naccelerate\ndatasets\n", RENTED),
        ("torch\ntrl\n", RENTED),  # brings the others
        ("torch\nunheard-of\n", RENTED),  # which may bring anything
        ("torch\n-r more.txt\n", RENTED),
        ("torch\n-e .\n", RENTED),
        ("# nothing\n", RENTED),
        ("torch\n", {}),  # here the environment is what it is
    ],
)
def test_what_may_be_brought_is_not_missing(requirements: str, spec: dict[str, Any]) -> None:
    assert found("library-missing", experiment(**spec), given=lists(requirements=requirements, script=SCRIPT)) == []


def test_imports_that_may_fail_and_own_modules_are_not_missing() -> None:
    text = "import torch\ntry:\n    import wandb\nexcept ImportError:\n    wandb = None\nimport pandas\n"
    own = SourceFact(path="pandas.py", kind="script", text="")
    given = lists(requirements="torch", script=text)
    given = given.model_copy(update={"sources": (*given.sources, own)})
    assert found("library-missing", experiment(**RENTED), given=given) == []


# ---------------------------------------------------------------- the CPU of a machine with a GPU


@pytest.mark.parametrize(
    ("switch", "is_said"),
    [
        ("use_cpu=not torch.backends.mps.is_available()", True),
        ("use_cpu=True", True),
        ("no_cuda=True", True),
        ("use_cpu=False", False),
        ("use_cpu=not torch.cuda.is_available()", False),
        ("use_cpu=args.cpu", False),
    ],
)
def test_a_trainer_that_is_told_to_use_the_cpu(switch: str, is_said: bool) -> None:
    text = f"from transformers import TrainingArguments\nargs = TrainingArguments(output_dir='o', {switch})\n"
    findings = found("trains-on-cpu", experiment(**RENTED), given=lists(script=text))
    assert [(one.severity, one.place) for one in findings] == ([("error", "train.py:2:50")] if is_said else [])
    on_cpu = world(sources=[SourceFact(path="t.py", kind="script", text=text)], devices=0)
    assert found("trains-on-cpu", experiment(), given=on_cpu) == []


# ---------------------------------------------------------------- the table


def test_the_table_of_libraries_is_sound() -> None:
    known = libraries()
    for api in known.apis:
        assert bool(api.since) != bool(api.until)
        assert api.names
        assert api.source
        assert api.date.startswith("20")
        assert version_of(api.since or api.until or "") <= version_of(known.newest[api.library])
    assert [row.capability for row in known.kernels] == sorted(row.capability for row in known.kernels)
    for pair in known.pairs:
        assert list(pair.same.values()) == sorted(pair.same.values())
