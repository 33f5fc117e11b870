"""Does the code train on the GPU that is paid for? Of the Trainer's own switches, as the script's text has them."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

from gpuplan.verify.case import listed
from gpuplan.verify.code import last_name, tree_of, unconditional
from gpuplan.verify.pins import capabilities

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpuplan.model import Finding, SourceFact
    from gpuplan.verify.case import Case

__all__ = ["switched_to_cpu"]

SWITCHES = frozenset({"use_cpu", "no_cuda"})
ARGUMENTS = frozenset({"TrainingArguments", "Seq2SeqTrainingArguments"})
ALWAYS = re.compile(r"True|not torch\.(?:backends\.)?mps\.is_available\(\)")
"""What is so on any machine with NVIDIA's GPUs: there is no MPS there."""


def switched_to_cpu(case: Case) -> Iterator[Finding]:
    """A Trainer that is told to use the CPU, as by `use_cpu=not torch.backends.mps.is_available()`."""
    gpus = capabilities(case)
    for source in case.sources("script") if gpus else ():
        for keyword in _switches(source):
            yield case.finding(
                "error",
                "trains-on-cpu",
                message=f"{source.path} trains on the CPU of a machine with {listed(gpus)}",
                because=f"`{keyword.arg}={ast.unparse(keyword.value)}` is true where there is an NVIDIA GPU: "
                "the GPU would idle while it is paid for",
                fix=f"leave {keyword.arg} out: the Trainer takes the GPU that is there",
                at=f"{source.path}:{keyword.value.lineno}:{keyword.value.col_offset + 1}",
            )


def _switches(source: SourceFact) -> Iterator[ast.keyword]:
    """The switches in calls that are made whatever holds."""
    if not any(name in source.text for name in SWITCHES):
        return
    tree = tree_of(source.text)
    for node in unconditional(tree) if tree else ():
        if isinstance(node, ast.Call) and last_name(node.func) in ARGUMENTS:
            named = (keyword for keyword in node.keywords if keyword.arg in SWITCHES)
            yield from (keyword for keyword in named if ALWAYS.fullmatch(ast.unparse(keyword.value)))
