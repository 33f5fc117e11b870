"""The settings of a run: one frozen record, filled from the command line, the environment or a mapping.

It never imports torch, so that `--help` and a mistyped option answer at once.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from gpuplan.workloads.agnews.errors import WorkloadError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def option(about: str, *, default: object, at_least: float | None = None, choices: tuple[str, ...] = ()) -> Any:
    """A field of `Config` that is also the command-line option of the same name."""
    return field(default=default, metadata={"about": about, "at_least": at_least, "choices": choices})


@dataclass(frozen=True, slots=True)
class Config:
    """Every setting of a run. Sizes and rates of system E's small model are the defaults."""

    data: str = option("hub name, CSV or Parquet file, or folder with train.* and test.*", default="fancyzhx/ag_news")
    train_rows: int = option("rows to train on; 0: all that are left", default=0, at_least=0)
    eval_rows: int = option(
        "rows to evaluate on; 0: the whole test part, or a fifth of a single file", default=0, at_least=0
    )
    split_seed: int = option(
        "shuffles which rows are for training and evaluation; the same for every --seed", default=0
    )
    text_columns: str = option(
        "columns joined to the text, comma-separated; empty: guessed from the header", default=""
    )
    label_column: str = option("column of the class number; empty: guessed from the header", default="")
    classes: int = option("classes, numbered from 0 or from 1", default=4, at_least=2)
    d_model: int = option("width of the model; even, and divisible by --heads", default=128, at_least=2)
    layers: int = option("encoder layers", default=2, at_least=1)
    heads: int = option("attention heads", default=4, at_least=1)
    feedforward: int = option("width of the feed-forward block", default=256, at_least=1)
    vocabulary: int = option("ids, with 0 for padding; words are hashed to the rest", default=20000, at_least=2)
    sequence: int = option("tokens a text is cut or padded to", default=64, at_least=1)
    dropout: float = option("probability, below 1", default=0.1, at_least=0)
    batch_size: int = option(
        "rows a step over all ranks (with --shard false: rows a step and rank)", default=32, at_least=1
    )
    epochs: int = option("passes over the training rows", default=3, at_least=1)
    learning_rate: float = option("peak rate of Adam", default=1e-3, at_least=0)
    warmup_steps: int = option(
        "steps to the peak rate, from where it falls to zero at the last step", default=50, at_least=0
    )
    seed: int = option("initial weights, order of the rows, dropout; default GPUPLAN_SEED, else 0", default=0)
    shard: bool = option("false: no sampler, every rank trains on all rows (the bug of the original)", default=True)
    control: str = option("train on shuffled labels to see chance", default="none", choices=("none", "shuffled-labels"))
    precision: str = option("bf16: autocast", default="fp32", choices=("fp32", "bf16"))
    threads: int = option("CPU threads of each rank; 0: torch's choice", default=1, at_least=0)
    max_steps: int = option(
        "end after so many steps, for a probe; 0: none; the rate still aims at --epochs", default=0, at_least=0
    )
    eval_every: int = option("epochs between evaluations; the last epoch always has one", default=1, at_least=1)
    checkpoint_every: int = option("steps between checkpoints; 0: only when told to stop", default=0, at_least=0)
    keep: int = option("newest checkpoints to keep", default=2, at_least=1)
    resume: str = option("checkpoint folder to go on from; default GPUPLAN_RESUME", default="")
    output_dir: str = option("folder of metrics and checkpoints; default GPUPLAN_RUN_DIR", default="runs/agnews")

    @property
    def text_column_names(self) -> list[str]:
        """The columns of `text_columns`, without blanks."""
        return [name.strip() for name in self.text_columns.split(",") if name.strip()]


def parse(arguments: Sequence[str] | None, environ: Mapping[str, str]) -> Config:
    """The settings of a command line, with gpuplan's environment where an option is not given."""
    parser = _parser()
    given = {key: value for key, value in vars(parser.parse_args(arguments)).items() if value is not None}
    return from_settings(_of_environment(environ) | given)


def from_settings(settings: Mapping[str, object]) -> Config:
    """The settings of a mapping, as a spec holds them; names that are not ours are somebody else's.

    >>> from_settings({"d_model": 64, "learning_rate": 5e-4, "shard": "false", "copies": 8}).shard
    False
    """
    known = {field.name: field.default for field in fields(Config)}
    config = Config(
        **{name: _convert(flag(name), settings[name], default=known[name]) for name in known if name in settings}
    )
    _check_each(config)
    _check_together(config)
    return config


def check_ranks(config: Config, *, world_size: int) -> None:
    """Refuse a global batch that cannot be divided among the ranks."""
    if config.shard and config.batch_size % world_size:
        raise WorkloadError(
            f"--batch-size {config.batch_size} is the global batch and does not divide among {world_size} ranks",
            hint=f"take a multiple of {world_size}, such as {math.ceil(config.batch_size / world_size) * world_size}",
        )


def flag(name: str) -> str:
    """The option of a setting: `d_model` is `--d-model`."""
    return "--" + name.replace("_", "-")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m gpuplan.workloads.agnews",
        description="Train a transformer that sorts news into classes; under torchrun with one process a GPU.",
        allow_abbrev=False,
    )
    for item in fields(Config):
        about = f"{item.metadata['about']} (default: {_shown(item.default)})".replace("%", "%%")
        parser.add_argument(flag(item.name), dest=item.name, help=about, metavar=_metavar(item.default))
    return parser


def _shown(default: object) -> str:
    return str(default).lower() if isinstance(default, bool) else str(default) or "none"


def _metavar(default: object) -> str:
    return {bool: "true|false", int: "INT", float: "NUMBER"}.get(type(default), "TEXT")


def _of_environment(environ: Mapping[str, str]) -> dict[str, object]:
    names = {"seed": "GPUPLAN_SEED", "output_dir": "GPUPLAN_RUN_DIR", "resume": "GPUPLAN_RESUME"}
    default = {item.name: item.default for item in fields(Config)}
    given = {item: name for item, name in names.items() if environ.get(name)}
    return {item: _convert(name, environ[name], default=default[item]) for item, name in given.items()}


def _convert(name: str, value: object, *, default: object) -> Any:
    text = str(value)
    try:
        if isinstance(default, bool):
            return {"true": True, "false": False}[text.strip().lower()]
        return type(default)(text)  # type: ignore[call-arg]
    except (KeyError, ValueError):
        wanted = {bool: "true or false", int: "a whole number", float: "a number"}[type(default)]
        raise WorkloadError(f"{name} {text}: {wanted} is wanted") from None


def _check_each(config: Config) -> None:
    for item in fields(Config):
        value, least, choices = getattr(config, item.name), item.metadata["at_least"], item.metadata["choices"]
        if choices and value not in choices:
            raise WorkloadError(f"{flag(item.name)} {value}: one of {', '.join(choices)} is wanted")
        if least is not None and not (least <= value < math.inf):
            raise WorkloadError(f"{flag(item.name)} {value}: at least {least} is wanted")


def _check_together(config: Config) -> None:
    if config.d_model % config.heads or config.d_model % 2:
        raise WorkloadError(
            f"--d-model {config.d_model} must be even and divisible by --heads {config.heads}",
            hint=f"such as {2 * config.heads * math.ceil(config.d_model / (2 * config.heads))}",
        )
    if config.dropout >= 1:
        raise WorkloadError(f"--dropout {config.dropout}: below 1 is wanted")
    if config.learning_rate == 0:
        raise WorkloadError("--learning-rate 0: nothing would be learnt")
