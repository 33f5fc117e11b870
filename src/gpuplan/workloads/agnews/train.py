"""The training loop: epochs of steps, an evaluation after each, checkpoints between.

It never picks data or settings: they come from `load` and `Config`.
"""

from __future__ import annotations

import time
from contextlib import closing
from typing import TYPE_CHECKING, NamedTuple

import torch

from gpuplan.workloads.agnews.data import Rows, Splits, load
from gpuplan.workloads.agnews.errors import DivergedError
from gpuplan.workloads.agnews.evaluate import Evaluation, evaluate
from gpuplan.workloads.agnews.history import Epoch
from gpuplan.workloads.agnews.pulse import Beat, Pulse
from gpuplan.workloads.agnews.ranks import Ranks, joined, total
from gpuplan.workloads.agnews.session import Session, open_session, save_checkpoint, say
from gpuplan.workloads.agnews.sharding import Share, shares
from gpuplan.workloads.agnews.step import training_step

if TYPE_CHECKING:
    from gpuplan.workloads.agnews.config import Config


class _Mean(NamedTuple):
    value: float
    samples: int


def train(config: Config, ranks: Ranks) -> Evaluation:
    """Run to the end and give the final evaluation.

    Raises SystemExit(75) when told to stop, with a checkpoint written, and DivergedError when the loss is lost.
    """
    if config.threads:
        torch.set_num_threads(config.threads)
    splits = load(config)
    with joined(ranks):
        return _run(config, ranks, splits)


def _run(config: Config, ranks: Ranks, splits: Splits) -> Evaluation:
    """The run itself: what it holds, DDP's threads among it, is gone before the ranks part."""
    session = open_session(config, ranks, splits=splits)
    with closing(session.run):
        try:
            return _trained(session)
        except DivergedError as error:
            session.run.flush()
            session.run.write("diverged", step=error.step, loss=error.loss)
            raise


def _trained(session: Session) -> Evaluation:
    progress = session.progress
    session.run.mark()
    while progress.step < session.last_step or progress.batch == session.steps_per_epoch:
        _train_epoch(session)
        if progress.batch == session.steps_per_epoch:
            _close_epoch(session)
    return _finish(session)


def _train_epoch(session: Session) -> None:
    """Train to the end of the epoch, or of the run."""
    config, progress = session.config, session.progress
    pulse = Pulse(session.ranks)
    for share in shares(
        len(session.splits.train.labels),
        epoch=progress.epoch,
        batch_size=config.batch_size,
        seed=config.seed,
        rank=session.ranks.rank,
        world_size=session.ranks.world_size,
        shard=config.shard,
        first=progress.batch,
    ):
        stop = _step(session, share, pulse=pulse)
        if stop or _checkpoint_due(session):
            save_checkpoint(session)
        if stop:
            say(session.ranks, f"told to stop: left at step {progress.step} with a checkpoint")
            session.run.leave()
        if progress.step == session.last_step:
            return


def _step(session: Session, share: Share, *, pulse: Pulse) -> bool:
    """One step; whether the run was told to stop."""
    progress = session.progress
    started = time.perf_counter()
    rows = _batch(session.splits.train, share, device=session.ranks.device)
    loss_sum = training_step(
        session.trained,
        session.parts,
        tokens=rows.tokens,
        labels=rows.labels,
        # DDP takes the mean of the ranks' gradients; the step wants the mean over the rows of all ranks.
        weight=session.ranks.world_size / share.global_rows if len(share.rows) else 0.0,
        precision=session.config.precision,
    )
    pulse.add(loss_sum if len(share.rows) else torch.zeros_like(loss_sum), len(share.rows))
    progress.step += 1
    progress.batch += 1
    progress.samples += len(share.rows)
    beat = _beat(session, pulse)
    session.run.step(samples=len(share.rows), loss=beat.mean_loss if beat else None)
    progress.seconds += time.perf_counter() - started
    return beat is not None and beat.stop


def _batch(rows: Rows, share: Share, *, device: torch.device) -> Rows:
    """The rows of a share; one of padding, which will weigh nothing, for a rank that has none."""
    if len(share.rows) == 0:
        tokens, labels = torch.zeros_like(rows.tokens[:1]), torch.zeros_like(rows.labels[:1])
    else:
        tokens, labels = rows.tokens[share.rows], rows.labels[share.rows]
    return Rows(tokens.to(device), labels.to(device))


def _beat(session: Session, pulse: Pulse) -> Beat | None:
    """Read the losses if it is time to, or if the sums are about to be used."""
    progress = session.progress
    if not (pulse.due or _checkpoint_due(session) or _epoch_ends(session)):
        return None
    beat = pulse.beat(step=progress.step, stop=session.run.stop_requested)
    for loss_sum in beat.losses:
        progress.loss_sum += loss_sum
    return beat


def _checkpoint_due(session: Session) -> bool:
    step, every = session.progress.step, session.config.checkpoint_every
    return every > 0 and (step % every == 0 or step == session.last_step)


def _epoch_ends(session: Session) -> bool:
    return session.progress.batch == session.steps_per_epoch or session.progress.step == session.last_step


def _close_epoch(session: Session) -> None:
    progress, config = session.progress, session.config
    number = progress.epoch + 1
    train_loss, samples = _train_loss(session)
    due = number % config.eval_every == 0 or number == config.epochs
    held_out = _evaluate(session) if due else Evaluation(None, None)
    epoch = Epoch(number, train_loss, progress.seconds, held_out.loss, held_out.accuracy, samples)
    session.history.append(epoch)
    session.run.epoch(
        number,
        samples=progress.samples,
        seconds=progress.seconds,
        train_loss=train_loss,
        val_loss=held_out.loss,
        val_accuracy=held_out.accuracy,
    )
    say(session.ranks, _line(epoch, config.epochs))
    progress.next_epoch()


def _train_loss(session: Session) -> _Mean:
    """Mean loss of the present epoch so far, over the rows of all ranks."""
    loss_sum, samples = total([session.progress.loss_sum, session.progress.samples], session.ranks)
    return _Mean(loss_sum / samples, int(samples))


def _evaluate(session: Session) -> Evaluation:
    session.run.mark()
    model, rows = session.parts.model, session.splits.evaluation
    precision = session.config.precision
    return evaluate(model, rows, batch_size=session.rank_batch, ranks=session.ranks, precision=precision)


def _line(epoch: Epoch, epochs: int) -> str:
    """The line the original prints, so that what reads its logs reads ours."""
    line = f"Epoch {epoch.epoch}/{epochs} | train_loss={epoch.train_loss:.4f} (time {epoch.train_time:.2f}s)"
    if epoch.val_loss is None or epoch.val_acc is None:
        return line
    return f"{line} | val_loss={epoch.val_loss:.4f}, val_acc={epoch.val_acc:.3f}"


def _finish(session: Session) -> Evaluation:
    """Record the results: those of the last epoch, or of the present weights if the run ended within one."""
    progress, epochs = session.progress, session.history.epochs
    last = epochs[-1] if epochs and progress.batch == 0 else None
    if last is not None and last.val_acc is not None:
        held_out = Evaluation(last.val_loss, last.val_acc)
    else:
        held_out = _evaluate(session)
    train_loss = last.train_loss if last else _train_loss(session).value
    session.run.final(accuracy=held_out.accuracy, val_loss=held_out.loss, train_loss=train_loss, epochs=progress.epoch)
    return held_out
