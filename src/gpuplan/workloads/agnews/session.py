"""All that a run holds while it trains, how it is opened, put into a checkpoint and taken out of one.

It never trains: `train.py` does.
"""

from __future__ import annotations

import os
import sys
import time
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from gpuplan import track
from gpuplan.workloads.agnews import checkpoint
from gpuplan.workloads.agnews.config import Config, flag
from gpuplan.workloads.agnews.errors import WorkloadError
from gpuplan.workloads.agnews.history import Epoch, History
from gpuplan.workloads.agnews.ranks import Ranks, gathered, wait
from gpuplan.workloads.agnews.sharding import derived_seed, steps_per_epoch
from gpuplan.workloads.agnews.step import Parts, build

if TYPE_CHECKING:
    from gpuplan.workloads.agnews.data import Splits

MAY_CHANGE = {
    *("data", "text_columns", "label_column", "train_rows", "eval_rows", "split_seed", "control"),
    *("epochs", "max_steps", "eval_every", "threads", "checkpoint_every", "keep", "resume", "output_dir"),
}
"""Settings that a resumed run may have other than its checkpoint; the training rows themselves are compared instead."""


@dataclass(slots=True)
class Progress:
    """Where the run is, with the sums of the epoch it is in, of this rank."""

    step: int = 0
    epoch: int = 0
    """Finished epochs."""
    batch: int = 0
    """Finished steps of the present epoch."""
    samples: int = 0
    loss_sum: float = 0.0
    seconds: float = 0.0

    def next_epoch(self) -> None:
        """Close the present epoch."""
        self.epoch += 1
        self.batch = self.samples = 0
        self.loss_sum = self.seconds = 0.0


@dataclass(frozen=True, slots=True)
class Session:
    """A run that is open; `parts`, `progress` and `history` change as it trains."""

    config: Config
    ranks: Ranks
    splits: Splits
    parts: Parts
    trained: nn.Module
    """The model, or DDP around it."""
    progress: Progress
    history: History
    run: track.Track

    @property
    def steps_per_epoch(self) -> int:
        """Steps of a whole epoch."""
        return steps_per_epoch(len(self.splits.train.labels), self.config.batch_size)

    @property
    def last_step(self) -> int:
        """The step after which the run ends."""
        whole = self.config.epochs * self.steps_per_epoch
        return min(whole, self.config.max_steps or whole)

    @property
    def rank_batch(self) -> int:
        """Rows of a step on each rank: the micro-batch."""
        return self.config.batch_size // (self.ranks.world_size if self.config.shard else 1)


def open_session(config: Config, ranks: Ranks, *, splits: Splits) -> Session:
    """Build the model, take up the checkpoint if there is one, and open the records."""
    folder = _made(Path(config.output_dir))
    total_steps = config.epochs * steps_per_epoch(len(splits.train.labels), config.batch_size)
    torch.manual_seed(derived_seed(config.seed, "weights"))
    parts = build(config, device=ranks.device, total_steps=total_steps)
    torch.manual_seed(derived_seed(config.seed, "dropout", ranks.rank))
    state = _resumed_state(config, ranks)
    if state:
        _check_fit(state, config, splits=splits)
    progress = _restore(state, parts, config=config, ranks=ranks) if state else Progress()
    epochs = [Epoch(**epoch) for epoch in state["history"]] if state else []
    history = History(folder / "metrics.csv" if ranks.rank == 0 else None, epochs)
    run = _started(config, ranks, rows=len(splits.train.labels), model=parts.model, step=progress.step)
    return Session(config, ranks, splits, parts, _wrapped(parts.model, ranks), progress, history, run)


def save_checkpoint(session: Session) -> None:
    """Write the run's whole state; all ranks must call it at the same step."""
    session.run.flush()
    started = time.perf_counter()
    each = gathered(_rank_state(session), session.ranks)
    progress, folder = session.progress, Path(session.config.output_dir)
    if session.ranks.rank == 0:
        checkpoint.save(folder, _state(session, each), step=progress.step, keep=session.config.keep)
    wait(session.ranks)
    path = os.path.relpath(folder / f"checkpoint-{progress.step}", session.run.directory)
    session.run.checkpoint(path, step=progress.step, seconds=round(time.perf_counter() - started, 6))


def say(ranks: Ranks, line: str) -> None:
    """Print a line once for all ranks."""
    if ranks.rank == 0:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


def _made(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WorkloadError(f"{folder} cannot be made: {error}", hint="take another --output-dir") from error
    return folder


def _started(config: Config, ranks: Ranks, *, rows: int, model: nn.Module, step: int) -> track.Track:
    return track.start(
        dataset_rows=rows,
        batch_size=config.batch_size * (1 if config.shard else ranks.world_size),
        directory=os.environ.get("GPUPLAN_RUN_DIR") or config.output_dir,
        rank=ranks.rank,
        world_size=ranks.world_size,
        step=step,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        device=str(ranks.device),
        precision=config.precision,
        epochs=config.epochs,
        steps_per_epoch=steps_per_epoch(rows, config.batch_size),
        shard=config.shard,
        seed=config.seed,
        threads=torch.get_num_threads(),
    )


def _wrapped(model: nn.Module, ranks: Ranks) -> nn.Module:
    if ranks.world_size == 1:
        return model
    devices = [ranks.device] if ranks.device.type == "cuda" else None
    return DistributedDataParallel(model, device_ids=devices, gradient_as_bucket_view=True)


def _rank_state(session: Session) -> dict[str, Any]:
    cuda = session.ranks.device.type == "cuda"
    return {
        "progress": asdict(session.progress),
        "random": torch.get_rng_state(),
        "cuda_random": torch.cuda.get_rng_state(session.ranks.device) if cuda else None,
    }


def _state(session: Session, each_rank: list[Any]) -> dict[str, Any]:
    return {
        "config": asdict(session.config),
        "checksum": session.splits.checksum,
        "ranks": each_rank,
        "history": session.history.as_data(),
        "model": session.parts.model.state_dict(),
        "optimizer": session.parts.optimizer.state_dict(),
        "scheduler": session.parts.scheduler.state_dict(),
    }


def _resumed_state(config: Config, ranks: Ranks) -> dict[str, Any] | None:
    """The state to go on from. A damaged checkpoint ends the run; if gpuplan named it, an older one will do."""
    if not config.resume:
        return None
    named = _found(config)
    lenient = config.resume == os.environ.get("GPUPLAN_RESUME")
    for path in [named, *(checkpoint.older(named) if lenient else [])]:
        try:
            state = checkpoint.load(path)
        except checkpoint.CheckpointError as error:
            if not lenient:
                raise
            say(ranks, f"warning: {error}")
        else:
            say(ranks, f"resumed from {path}")
            return state
    say(ranks, "warning: no good checkpoint is left; starting afresh")
    return None


def _found(config: Config) -> Path:
    """A checkpoint's path may be relative to the run's folder, as the run itself records it."""
    path = Path(config.resume)
    try:
        return path if path.exists() else Path(config.output_dir) / path
    except OSError as error:
        raise checkpoint.CheckpointError(f"{path} cannot be read: {error.strerror}") from error


def _restore(state: dict[str, Any], parts: Parts, *, config: Config, ranks: Ranks) -> Progress:
    parts.model.load_state_dict(state["model"])
    parts.optimizer.load_state_dict(state["optimizer"])
    parts.scheduler.load_state_dict(state["scheduler"])
    each = state["ranks"]
    if len(each) != ranks.world_size:
        return _other_world(each, config, ranks=ranks)
    mine = each[ranks.rank]
    torch.set_rng_state(mine["random"])
    if ranks.device.type == "cuda" and mine["cuda_random"] is not None:
        torch.cuda.set_rng_state(mine["cuda_random"], ranks.device)
    return Progress(**mine["progress"])


def _check_fit(state: dict[str, Any], config: Config, *, splits: Splits) -> None:
    for name in (item.name for item in fields(Config) if item.name not in MAY_CHANGE):
        was, now = state["config"].get(name), getattr(config, name)
        if was != now:
            raise WorkloadError(
                f"the checkpoint was made with {flag(name)} {was}, this run has {now}",
                hint="resume with the settings of the checkpoint, or start without --resume",
            )
    if state["checksum"] != splits.checksum:
        raise WorkloadError(
            "the checkpoint was trained on other rows than this run has",
            hint="give the same --data, --train-rows, --eval-rows, --split-seed and --control",
        )


def _other_world(each: list[Any], config: Config, *, ranks: Ranks) -> Progress:
    """Go on with another number of ranks: the global batches stay, rank 0 takes the sums, dropout starts anew."""
    progress = Progress(**each[0]["progress"])
    torch.manual_seed(derived_seed(config.seed, "dropout", ranks.rank, "from", progress.step))
    others = [Progress(**other["progress"]) for other in each[1:]]
    progress.samples += sum(other.samples for other in others)
    progress.loss_sum += sum(other.loss_sum for other in others)
    if ranks.rank > 0:
        progress.samples, progress.loss_sum = 0, 0.0
    return progress
