"""What the user wants: a spec from a file, from standard input or from the command line, checked as a whole."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from gpuplan.errors import SpecError, UserError
from gpuplan.spec.check import experiment_of
from gpuplan.spec.inline import assignment as assignment
from gpuplan.spec.inline import inline_document as inline_document
from gpuplan.spec.inline import with_overrides
from gpuplan.spec.read import MAX_BYTES, read_text
from gpuplan.spec.workload import with_workload

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpuplan.model import Experiment
    from gpuplan.spec.document import Document

__all__ = ["DEFAULT_PATH", "Spec", "assignment", "inline_document", "load", "spec_of"]

DEFAULT_PATH = "experiment.yaml"


class Spec(NamedTuple):
    """A checked experiment, where it came from and where its keys stand."""

    experiment: Experiment
    path: str
    base: Path
    digest: str
    places: dict[str, str]
    overrides: tuple[str, ...] = ()


def load(path: str | None = None, overrides: Sequence[str] = ()) -> Spec:
    """Read the spec at `path` (default experiment.yaml; `-` is standard input). Raises SpecError, UserError."""
    if path == "-":
        return spec_of(read_text(sys.stdin.buffer.read(MAX_BYTES + 1), "standard input"), overrides=overrides)
    file = Path(path or DEFAULT_PATH)
    return spec_of(read_text(_bytes(file, given=path is not None), str(file)), base=file.parent, overrides=overrides)


def spec_of(document: Document, *, base: Path | None = None, overrides: Sequence[str] = ()) -> Spec:
    """Check a document that is already parsed. Raises SpecError."""
    if isinstance(document.value, dict):
        document = with_overrides(document, overrides)
    try:
        experiment = with_workload(experiment_of(document), document)
    except SpecError as error:
        if overrides:
            error.hint = f"this is the spec after --set {' --set '.join(overrides)}"
        raise
    digest = hashlib.sha256(experiment.model_dump_json().encode()).hexdigest()[:16]
    places = {".".join(map(str, at)): document.located(at) for at in document.places}
    return Spec(experiment, document.path, (base or Path()).absolute(), digest, places, tuple(overrides))


def _bytes(file: Path, *, given: bool) -> bytes:
    try:
        # Opening a pipe that nobody writes to would wait for ever.
        if not file.is_file() and file.exists():
            raise UserError(f"{file}: not a file", hint="pipe a spec in with `-`, as in `gpuplan check -`")
        with file.open("rb") as stream:
            return stream.read(MAX_BYTES + 1)
    except FileNotFoundError:
        hint = "gpuplan init writes one" if not given else _near_files(file)
        raise UserError(f"{file}: no such file", hint=hint) from None
    except (OSError, ValueError) as error:
        raise UserError(f"{file}: cannot be read: {getattr(error, 'strerror', None) or error}") from None


def _near_files(file: Path) -> str:
    try:
        specs = sorted(p.name for p in file.parent.iterdir() if p.suffix in {".yaml", ".yml", ".toml", ".json"})
    except OSError:
        return "gpuplan init writes a spec"
    return f"there are: {', '.join(specs[:8])}" if specs else "gpuplan init writes a spec"
