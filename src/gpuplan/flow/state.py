"""The state folder: where the store, the runs, the plans and the reports lie. It knows no verb."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from pydantic import ValidationError

from gpuplan.errors import UserError
from gpuplan.launch.base import writing
from gpuplan.launch.prepare import make_state
from gpuplan.model import Plan
from gpuplan.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["State", "make_plan_file"]


def make_plan_file(path: Path, plan: Plan) -> None:
    """Make the file that `plan` goes to, its owner's alone where it holds variables of the spec: maybe a token."""
    path.touch(mode=0o600 if plan.experiment.environment.variables else 0o666)


class State:
    """One `.gpuplan` folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self.store_path = self.folder / "store.sqlite"

    @contextlib.contextmanager
    def reading(self) -> Iterator[Store | None]:
        """The store to read; None where nothing was ever run."""
        if not self.store_path.exists():
            yield None
            return
        with Store.to_read(self.store_path) as store:
            yield store

    @contextlib.contextmanager
    def writing(self) -> Iterator[Store]:
        """The store to write; the folder is made if it has to be."""
        make_state(self.folder)
        with Store(self.store_path) as store:
            yield store

    def keep_plan(self, plan: Plan) -> None:
        """Keep the plan that is being applied, so that `report` knows what was wanted."""
        path = self._plan_path(plan.experiment.name)
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            unfinished = path.with_suffix(".part")
            make_plan_file(unfinished, plan)
            unfinished.write_text(plan.model_dump_json(by_alias=True), "utf-8")
            unfinished.replace(path)

    def plan(self, experiment: str | None) -> Plan:
        """The newest applied plan of `experiment`, or of all. Raises UserError where there is none."""
        found = self.newest_plan(experiment)
        if found is None:
            named = f" of {experiment}" if experiment else ""
            raise UserError(
                f"nothing{named} was applied in {self.folder}", hint="gpuplan apply SPEC, or --state FOLDER"
            )
        return found

    def newest_plan(self, experiment: str | None) -> Plan | None:
        """As `plan`, but None where nothing was applied."""
        folder = self.folder / "plans"
        paths = sorted(folder.glob("*.json"), key=lambda path: path.stat().st_mtime) if folder.is_dir() else []
        if experiment is not None:
            paths = [path for path in paths if path.stem == experiment]
        if not paths:
            return None
        try:
            return Plan.model_validate_json(paths[-1].read_bytes())
        except ValidationError:
            hint = "apply the spec again: what is finished is kept"
            raise UserError(f"{paths[-1]} was written by another version of gpuplan", hint=hint) from None

    def report_folder(self, experiment: str) -> Path:
        """Where the report of `experiment` goes unless told otherwise."""
        return self.folder / "reports" / experiment

    def _plan_path(self, experiment: str) -> Path:
        return self.folder / "plans" / f"{experiment}.json"
