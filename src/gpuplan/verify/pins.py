"""Can the libraries that are asked for work together, with the script, and with the GPU? Known traps, and no others.

Only what every admitted version gets wrong is said; where there is no upper bound, pip takes the newest.
"""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING, NamedTuple

from gpuplan.data import find_gpu
from gpuplan.data.libraries import libraries
from gpuplan.verify.code import last_name, tree_of, unconditional
from gpuplan.verify.requirements import Requirement, admitted, requirements_in, version_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gpuplan.data.libraries import Api, Kernels, Pair
    from gpuplan.model import Finding, SourceFact
    from gpuplan.verify.case import Case

__all__ = ["Clash", "capabilities", "clashes", "kernel_clashes", "library_versions", "pair_clashes", "script_uses"]

SUBCLASSES = {"TrainingArguments": ("TrainingArguments", "Seq2SeqTrainingArguments")}
ASKS_VERSION = re.compile(r"__version__|version\.parse|inspect\.signature|importlib\.metadata")


class Clash(NamedTuple):
    """What cannot be: in words, where, why, and what to do; `is_sure` if no admitted version can do it."""

    message: str
    place: str
    because: str
    fix: str
    is_sure: bool = True


class Use(NamedTuple):
    """What a script does with a library: a name of the table of libraries, and where."""

    api: Api
    name: str
    place: str


def library_versions(case: Case) -> Iterator[Finding]:
    """Versions that the lists of requirements ask for and that cannot work: together, with the script, on the GPU."""
    asked = _asked(case)
    uses = [use for source in case.sources("script") for use in script_uses(source)]
    found = [*clashes(asked), *_script_clashes(asked, uses), *kernel_clashes(asked, capabilities(case))]
    for clash in found:
        is_built = set(case.experiment.compute.on) != {"local"}  # here another version may be installed
        yield case.finding(
            "error" if clash.is_sure and is_built else "warning",
            "library-version",
            message=clash.message,
            because=clash.because,
            fix=clash.fix,
            at=clash.place,
        )


# ---------------------------------------------------------------- what cannot be


def clashes(asked: Sequence[Requirement]) -> Iterator[Clash]:
    """Two ranges of one library without a version in common; a library beside one that it was not built with."""
    for name, found in _by_name(asked).items():
        if admitted(found) is None:
            high, low = min(found, key=lambda one: one.high), max(found, key=lambda one: one.low)
            yield Clash(
                f"no version of {name} is both {high.words} and {low.words}",
                place=low.place,
                because=f"{high.place} asks for the one, {low.place} for the other; whichever is installed last stays",
                fix="let both say the same",
            )
    yield from pair_clashes(asked)


def pair_clashes(asked: Sequence[Requirement]) -> Iterator[Clash]:
    """A library beside a release of another that it was not built with."""
    for pair in libraries().pairs:
        yield from _pair_clashes(pair, _by_name(asked))


def kernel_clashes(asked: Sequence[Requirement], capabilities: dict[str, float]) -> Iterator[Clash]:
    """A torch that has no kernels for a GPU, by the GPU's name and compute capability."""
    found = _by_name(asked).get("torch")
    torch = admitted(found) if found else None
    for gpu, capability in capabilities.items() if torch else ():
        row = next((row for row in libraries().kernels if row.capability == int(capability)), None)
        if row and torch and (torch.high <= version_of(row.release) or (torch.cuda or row.cuda) < row.cuda):
            yield _no_kernels(torch, gpu, capability, row)


def _no_kernels(torch: Requirement, gpu: str, capability: float, row: Kernels) -> Clash:
    cuda = f"{row.cuda // 10}.{row.cuda % 10}"
    build = f" for CUDA {torch.cuda // 10}.{torch.cuda % 10}" if torch.cuda else ""
    return Clash(
        f"{torch.words}{build} has no kernels for the {gpu} (compute capability {capability})",
        place=torch.place,
        because=f"builds of torch have them from {row.release} and CUDA {cuda} on ({row.source}); before, each kernel "
        "ends in `no kernel image is available`, or the program falls back to the CPU",
        fix=f"`torch>={row.release.removesuffix('.0')}` of a build for CUDA {cuda} or later, or another GPU",
    )


def _pair_clashes(pair: Pair, asked: dict[str, list[Requirement]]) -> Iterator[Clash]:
    one, other = (admitted(asked[name]) if name in asked else None for name in (pair.library, pair.other))
    wanted = pair.same.get(_minor(one)) if one else None
    if one and other and wanted and _minor(other) and _minor(other) != wanted:
        yield Clash(
            f"{one.words} is built for {pair.other} {wanted}, not for {other.words}",
            place=one.place,
            because=f"{other.place} asks for {other.words}; {pair.source}",
            fix=f"{pair.library}=={_fitting(pair, other)}, or leave its version out: pip takes the one that fits",
        )


def _fitting(pair: Pair, other: Requirement) -> str:
    releases = [release for release, wanted in pair.same.items() if wanted == _minor(other)]
    return f"{releases[0]}.*" if releases else "the one that fits"


def _minor(one: Requirement) -> str:
    """`2.0` of a range that holds no other minor release, else nothing."""
    is_one = one.low and one.high <= (one.low[0], one.low[1] + 1, 0, 0)
    return f"{one.low[0]}.{one.low[1]}" if is_one else ""


def _script_clashes(asked: Sequence[Requirement], uses: Sequence[Use]) -> Iterator[Clash]:
    by_name = _by_name(asked)
    for use in uses:
        found = admitted(by_name[use.api.library]) if use.api.library in by_name else None
        if found is not None:
            yield from _use_clash(found, use)


def _use_clash(found: Requirement, use: Use) -> Iterator[Clash]:
    api, newest = use.api, libraries().newest[use.api.library]
    thing = {
        "argument": f"{api.of} takes {use.name}",
        "import": f"{use.name} can be imported from {api.library}",
        "override": f"{api.of}.{use.name} is called with {api.parameters} arguments, as this one takes them,",
    }[api.kind]
    if api.since and found.high <= version_of(api.since):
        said, fix, is_sure = f"{thing} from {api.library} {api.since} on only", f"{api.library}>={api.since}", True
    elif api.until and found.low >= version_of(api.until):
        said, fix, is_sure = f"{thing} before {api.library} {api.until} only", f"{api.library}<{api.until}", True
    elif api.until and not found.is_bounded:
        said, fix, is_sure = f"{thing} before {api.library} {api.until} only", f"{api.library}<{api.until}", False
    else:
        return
    taken = found.words if found.is_bounded or is_sure else f"{found.words}, of which pip takes {newest} or a newer one"
    yield Clash(
        f"{use.place} does not work with {taken}: {said}",
        place=found.place,
        because=f"the run ends where it first meets it; {api.source}",
        fix=f"{fix}, or change the script",
        is_sure=is_sure,
    )


# ---------------------------------------------------------------- what is asked for, and used


def _asked(case: Case) -> list[Requirement]:
    return [one for source in case.sources("requirements") for one in requirements_in(source.text, source.path)]


def _by_name(asked: Sequence[Requirement]) -> dict[str, list[Requirement]]:
    found: dict[str, list[Requirement]] = {}
    for one in asked:
        found.setdefault(one.name, []).append(one)
    return found


def capabilities(case: Case) -> dict[str, float]:
    """Of the GPUs that are wished for, and of those of this machine if runs may start on it."""
    experiment = case.experiment
    wished = [*experiment.compute.gpus, *(name for stage in experiment.stages for name in stage.gpus)]
    here = [device.gpu for device in case.world.machine.devices if device.kind == "gpu"]
    names = wished or (here if "local" in experiment.compute.on else [])
    gpus = {name: case.world.gpus.get(name) or find_gpu(name) for name in dict.fromkeys(names)}
    return {name: float(gpu.compute_capability) for name, gpu in gpus.items() if gpu and gpu.compute_capability}


def script_uses(source: SourceFact) -> list[Use]:
    """The names of the table that a script uses; none of one that asks for versions, which may know its way."""
    known = [api for api in libraries().apis if api.library in source.text]
    known = [api for api in known if any(name in source.text for name in api.names)]
    if not known or ASKS_VERSION.search(source.text):
        return []
    tree = tree_of(source.text)
    plain = unconditional(tree) if tree else []
    found = [use for api in known for node in plain for use in _uses(api, node, source.path)]
    both = {use.name for use in found} >= {"eval_strategy", "evaluation_strategy"}
    return [use for use in found if not (both and "strategy" in use.name)]


def _uses(api: Api, node: ast.AST, path: str) -> Iterator[Use]:
    if api.kind == "argument" and isinstance(node, ast.Call):
        if last_name(node.func) in SUBCLASSES.get(api.of, (api.of,)):
            given = (keyword for keyword in node.keywords if keyword.arg in api.names)
            yield from (Use(api, str(keyword.arg), f"{path}:{keyword.value.lineno}") for keyword in given)
    elif api.kind == "import" and isinstance(node, ast.ImportFrom) and node.module == api.library:
        yield from (Use(api, one.name, f"{path}:{node.lineno}") for one in node.names if one.name in api.names)
    elif api.kind == "override" and isinstance(node, ast.ClassDef) and _extends(node, api.of):
        methods = (each for each in node.body if isinstance(each, ast.FunctionDef) and each.name in api.names)
        yield from (Use(api, one.name, f"{path}:{one.lineno}") for one in methods if _takes(one) <= api.parameters)


def _extends(node: ast.ClassDef, name: str) -> bool:
    return any(last_name(base) == name for base in node.bases)


def _takes(function: ast.FunctionDef) -> int:
    """Its parameters; without end where it takes any."""
    arguments = function.args
    is_open = arguments.vararg or arguments.kwarg
    return 10**6 if is_open else len(arguments.posonlyargs) + len(arguments.args) + len(arguments.kwonlyargs)
