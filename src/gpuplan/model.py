"""Every noun of gpuplan, frozen. It holds values and their bounds, never a decision, a file or a clock.

The order is the pipeline's: what the user wants (Experiment, Run), what a step needs (Footprint), what there is
(Gpu, Machine, Offer, Evidence, World), what will be (Quantity, Estimate, Placement, Plan, Finding), what was
(Measurement, Outcome).
"""

from __future__ import annotations

import math
from collections.abc import Callable  # noqa: TC003  pydantic reads annotations when it runs
from datetime import date
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, Self, TypeAlias

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    PlainSerializer,
    Tag,
    WithJsonSchema,
    model_validator,
)

from gpuplan.units import parse_bandwidth, parse_bytes, parse_duration, parse_usd

MAX_RUNS = 100_000
STALE_DAYS = 30
"""Prices moved by up to 24 % in four weeks at the places that move at all (reference/placement.md, section 4)."""
MAX_RANKS = 4096
LARGEST = 2**63 - 1
"""Of whole numbers: what JSON readers, SQLite and programs in C can hold."""


class Noun(BaseModel):
    """Frozen, and strict about keys: a typo is an error, not an extra."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


# ---------------------------------------------------------------- values of a spec


class Unit(NamedTuple):
    """How a figure with a unit is read from a spec and written back."""

    parse: Callable[[str], float]
    example: str
    suffix: str

    def read(self, value: object) -> float:
        """The figure inside `value`; raises ValueError."""
        if isinstance(value, str):
            return self._bounded(self.parse(value))
        raise ValueError(f"give a unit, as in {self.example}")

    def _bounded(self, value: float) -> float:
        if value > LARGEST:
            raise ValueError(f"too large; {self.example} would do")
        return value

    def write(self, value: float) -> str:
        """The figure as a text that `read` takes."""
        return f"{value!r} {self.suffix}"


BYTES = Unit(parse_bytes, "50 GB", "B")
BYTES_PER_SECOND = Unit(parse_bandwidth, "100 Mbit/s", "B/s")
SECONDS = Unit(parse_duration, "90 s or 5 days", "s")
DOLLARS = Unit(parse_usd, "50 USD", "USD")


def _scalar(value: object) -> object:
    if isinstance(value, str):
        return _clean(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("a setting cannot be NaN or infinite")
    if isinstance(value, int) and not -LARGEST - 1 <= value <= LARGEST:
        raise ValueError("a whole number beyond 64 bits; write it as a text")
    if isinstance(value, bool | int | float):
        return value
    raise ValueError("a setting is a number, a text or true/false")


def _clean(text: str) -> str:
    if "\0" in text or (not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text)):
        raise ValueError("it holds a character that no command line can carry")
    return text


Scalar: TypeAlias = Annotated[
    bool | int | float | str,
    BeforeValidator(_scalar),
    WithJsonSchema({"type": ["boolean", "number", "string"]}),
]
Bytes: TypeAlias = Annotated[
    int, BeforeValidator(BYTES.read, json_schema_input_type=str), PlainSerializer(BYTES.write, return_type=str)
]
BytesPerSecond: TypeAlias = Annotated[
    float,
    BeforeValidator(BYTES_PER_SECOND.read, json_schema_input_type=str),
    PlainSerializer(BYTES_PER_SECOND.write, return_type=str),
]
Seconds: TypeAlias = Annotated[
    float, BeforeValidator(SECONDS.read, json_schema_input_type=str), PlainSerializer(SECONDS.write, return_type=str)
]
Dollars: TypeAlias = Annotated[
    float, BeforeValidator(DOLLARS.read, json_schema_input_type=str), PlainSerializer(DOLLARS.write, return_type=str)
]
Name: TypeAlias = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)]
Key: TypeAlias = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=100)]
Text: TypeAlias = Annotated[str, Field(min_length=1, max_length=20_000), AfterValidator(_clean)]
Positive: TypeAlias = Annotated[int, Field(ge=1, strict=True)]
Count: TypeAlias = Annotated[int, Field(ge=0, le=LARGEST, strict=True)]
Word: TypeAlias = Annotated[str, Field(max_length=20_000), AfterValidator(_clean)]
GangSize: TypeAlias = Annotated[int, Field(ge=1, le=MAX_RANKS, strict=True)]
Settings: TypeAlias = dict[Key, Scalar]
Axis: TypeAlias = Annotated[list[Scalar], Field(min_length=1, max_length=MAX_RUNS)]


# ---------------------------------------------------------------- what the user wants


class Control(Noun):
    """A named point of its own, to hold the others against."""

    name: Name
    settings: Settings = Field(default_factory=dict, description="what differs from `settings`")
    command: Text | None = Field(default=None, description="its own command, if it is another program")
    train: bool = Field(default=True, description="false: it only evaluates")


class Stage(Noun):
    """One of several ordered waves; its runs start when the wave before has ended."""

    name: Name
    settings: Settings = Field(default_factory=dict, description="what differs from `settings`")
    repeats: Positive = Field(default=1, description="how often each point runs in this stage")
    gpus: list[Text] = Field(default_factory=list, description="the GPU tier of this stage")


PRECISION_NAMES = ("fp32", "tf32", "fp16", "bf16")


class Roles(Noun):
    """Which settings mean what, for programs that gpuplan does not know: a setting's name, or a number."""

    batch: Key | Count | None = Field(default=None, description="rows of one optimizer step, over all ranks")
    micro_batch: Key | Count | None = Field(default=None, description="rows of one forward pass on one rank")
    accumulation: Key | Count | None = Field(default=None, description="forward passes to one optimizer step")
    sequence: Key | Count | None = Field(default=None, description="tokens of one row")
    image: Key | Count | None = Field(default=None, description="edge of an image in pixels, for a network by its name")
    steps: Key | Count | None = Field(default=None, description="optimizer steps of the run")
    epochs: Key | Count | None = Field(default=None, description="passes over the training rows")
    warmup_steps: Key | Count | None = Field(default=None, description="steps of learning-rate warm-up")
    train_rows: Key | Count | None = Field(default=None, description="training rows of one epoch")
    eval_rows: Key | Count | None = Field(default=None, description="rows of one evaluation")
    precision: Key | None = Field(default=None, description="fp32, tf32, fp16 or bf16, or the setting that says it")
    threads: Key | Count | None = Field(default=None, description="CPU threads of one rank")
    workers: Key | Count | None = Field(default=None, description="processes of one rank that load data")
    load_s: Key | Annotated[float, Field(ge=0)] | None = Field(
        default=None, description="CPU seconds to load one row, on one core"
    )
    compile: Key | bool | None = Field(default=None, description="whether torch.compile or its like compiles the model")
    learning_rate: Key | float | None = None


class Architecture(Noun):
    """A transformer by its dimensions; each a number or the name of a setting."""

    kind: Literal["encoder", "decoder", "encoder_decoder", "vision"]
    layers: Key | int = Field(description="of an encoder_decoder: of each half")
    d_model: Key | int
    heads: Key | int
    feedforward: Key | int
    vocabulary: Key | int | None = Field(default=None, description="needed by all but vision")
    sequence: Key | int | None = Field(default=None, description="default: the role `sequence`")
    kv_heads: Key | int | None = Field(default=None, description="grouped-query attention; default: heads")
    gated: bool = Field(default=False, description="a gated feed-forward (three matrices instead of two)")
    tied: bool = Field(default=False, description="the output head shares the embedding")
    learned_positions: bool = False
    classes: Key | int | None = Field(default=None, description="outputs of a classifier, in place of the vocabulary")
    activation: Literal["relu", "gelu", "silu"] | None = Field(
        default=None, description="default: silu if gated, relu in encoders and encoder_decoders, else gelu"
    )
    bias: Literal["none", "qkv", "all"] | None = Field(
        default=None, description="of the layers' matrices; default: none if gated or encoder_decoder, else all"
    )
    patch: Key | int | None = Field(default=None, description="edge of a patch in pixels, for vision")
    image: Key | int | None = Field(default=None, description="edge of an image in pixels, for vision")
    optimizer: Literal["sgd", "adam", "adamw", "adamw_fused"] = "adamw"
    checkpointing: bool = Field(default=False, description="activations recomputed in the backward pass")
    head_dim: Key | int | None = Field(default=None, description="default: d_model / heads")
    experts: Key | int | None = Field(default=None, description="feed-forwards to choose from, in every layer")
    experts_per_token: Key | int = Field(default=2, description="how many of the experts a token passes")
    library: Literal["hf", "litgpt", "torchtune", "unsloth"] | None = Field(
        default=None, description="whose code trains it, for its kernels and precisions; default: plain PyTorch modules"
    )
    library_version: Text | None = Field(default=None, description="of transformers, for `library: hf`")
    method: Literal["full", "lora"] = Field(default="full", description="what is trained")
    storage: Literal["fp32", "bf16", "int8", "nf4", "nf4_dq", "gptq4"] | None = Field(
        default=None,
        description="how matrices are kept; default: fp32, with 16 bits by autocast; without a library fp32 or bf16",
    )
    adapter_rank: Key | int = Field(default=16, description="of low-rank adapters")
    adapter_targets: tuple[Literal["q", "k", "v", "o", "gate", "up", "down"], ...] = Field(
        default=(), description="matrices with adapters; default: q and v"
    )
    fused: tuple[Literal["norm", "loss", "linear_loss", "chunked_loss", "adapter", "feedforward"], ...] = Field(
        default=(), description="kernels that replace the library's own (linear_loss: Liger)"
    )
    attention: Literal["flash", "eager"] = "flash"
    sharding: Literal["none", "fsdp", "zero1", "zero2", "zero3"] = Field(
        default="none", description="what the ranks share; none: DDP"
    )


class FootprintSource(Noun):
    """Where the footprint of one step comes from; exactly one of these."""

    model: (
        Annotated[
            Annotated[Architecture, Tag("dimensions")] | Annotated[Text, Tag("file")],
            Discriminator(lambda value: "file" if isinstance(value, str) else "dimensions"),
        ]
        | None
    ) = Field(default=None, description="dimensions, a Hugging Face config.json, or a model's name")
    trace: Text | None = Field(default=None, description="module:function that builds one training step")
    logs: Text | None = Field(default=None, description="a glob of logs of earlier runs")


class Environment(Noun):
    """Where and with what the commands run."""

    python: Text | None = Field(default=None, description="interpreter that stands for `python` in commands")
    workdir: Text = Field(default=".", description="folder they start in, from the spec's own")
    variables: dict[Key, Word] = Field(default_factory=dict, description="environment variables of every run")


class Input(Noun):
    """A file or folder that the commands read; braces may name settings."""

    path: Text = Field(description="from `environment.workdir`")
    create: Text | None = Field(default=None, description="the command that makes it")
    splits: list[Name] = Field(default_factory=list, description="parts that have to be in it, by name")


class Checkpoint(Noun):
    """How the program saves and resumes."""

    every: Text | None = Field(default=None, description="as in: 1000 steps, 10 min, 1 epoch")
    keep: Positive | None = Field(default=None, description="how many stay on disk; default: all")
    files: Text = Field(default="checkpoint-*", description="pattern in the run's folder")
    resume: Text | None = Field(default=None, description="appended to the command of a resumed run")
    signal: Literal["none", "SIGTERM", "SIGINT", "SIGUSR1", "SIGUSR2", "SIGHUP"] = Field(
        default="none", description="what asks the program to save and leave with exit code 75"
    )


class Compute(Noun):
    """What the user would run on."""

    on: list[Name] = Field(default_factory=lambda: ["local"], description="places; this version runs on `local`")
    gpus: list[Text] = Field(default_factory=list, description="accelerators, by any of their names")
    reliability: Annotated[float, Field(ge=0, le=1)] | None = Field(default=None, description="of a rented machine")
    disk: Bytes | None = Field(default=None, description="disk of a machine")
    download: BytesPerSecond | None = Field(default=None, description="least bandwidth of a rented machine")
    threads: Positive | None = Field(default=None, description="CPU threads of one rank; default: an equal share")
    memory: Bytes | None = Field(default=None, description="least memory of one GPU")
    capability: Annotated[float, Field(gt=0, lt=100)] | None = Field(
        default=None, description="least compute capability, as in 8.0"
    )
    spot: bool | None = Field(default=None, description="true: only what may be taken away; false: only what may not")
    region: list[Text] = Field(default_factory=list, description="where the machine stands, as in US or eu-west")
    max_price: Dollars | None = Field(default=None, description="of one GPU for an hour")
    power_w: Annotated[float, Field(gt=0, lt=1e6)] | None = Field(
        default=None, description="what your own machine draws under load, in watts"
    )
    electricity_usd_per_kwh: Annotated[float, Field(ge=0, lt=100)] | None = Field(
        default=None, description="what you pay for it; with both, your own machine has a bill too"
    )


class Limits(Noun):
    """Where the plan and the runs have to stop."""

    budget: Dollars | None = Field(default=None, description="the most that may be spent")
    deadline: Annotated[Seconds, Field(gt=0)] | None = Field(
        default=None, description="from the start of apply; then no run is started"
    )
    run: Annotated[Seconds, Field(gt=0)] | None = Field(
        default=None, description="the longest one run may take; then it is timed out"
    )
    grace: Seconds = Field(default=30.0, description="from asking a run to end until it is killed")


class Experiment(Noun):
    """The parsed spec: what varies, what it runs, where, and what it should show."""

    name: Name = Field(description="the experiment; letters, digits, dots, dashes and underscores")
    command: Text | None = Field(default=None, description="one run's command line, with {settings} in braces")
    workload: Name | None = Field(default=None, description="a built-in trainer, in place of `command`")
    settings: Settings = Field(default_factory=dict, description="what all runs share")
    vary: dict[Key, Axis] = Field(default_factory=dict, description="the product of these")
    zip: dict[Key, Axis] = Field(default_factory=dict, description="lists of one length, taken together")
    points: list[Settings] = Field(default_factory=list, description="points listed one by one")
    seeds: list[Count] = Field(default_factory=list, description="each point once a seed")
    controls: list[Control] = Field(default_factory=list, description="named points of their own, run once")
    names: Text | None = Field(default=None, description="how runs are named, as in {size}-s{seed}")
    roles: Roles = Field(default=Roles(), description="which settings mean what")
    footprint: FootprintSource | None = Field(default=None, description="what one training step needs")
    ranks: GangSize = Field(default=1, description="processes of one run under torchrun; may stand in `vary` too")
    copies: GangSize = Field(default=1, description="commands that start together and share a slot")
    stages: list[Stage] = Field(default_factory=list, description="ordered waves (planned, not yet run)")
    environment: Environment = Field(default=Environment(), description="where and with what commands run")
    inputs: list[Input] = Field(default_factory=list, description="files that have to be there")
    checkpoint: Checkpoint = Field(default=Checkpoint(), description="how the program saves and resumes")
    compute: Compute = Field(default=Compute(), description="what to run on")
    limits: Limits = Field(default=Limits(), description="money and time that are not exceeded")
    expect: list[Text] = Field(default_factory=list, description="what `gpuplan report --check` judges")


class Run(Noun):
    """One point of the experiment. A gang of ranks or of copies is one run."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._=+-]*$", max_length=100)]
    key: str = Field(description="hash of all that decides its result; the same key is the same run")
    settings: Settings
    point: Settings = Field(description="what varies, with its value here")
    seed: int | None = None
    ranks: int = 1
    copies: int = 1
    stage: str | None = None
    control: str | None = None
    train: bool = True
    command: str = Field(description="the template; braces are filled when it starts")

    def value_of(self, role: str | float | None) -> Scalar | None:
        """The value of a role: a setting's by its name, or the number that stands in its place."""
        return self.settings.get(role) if isinstance(role, str) else role


# ---------------------------------------------------------------- what is known of numbers

Source: TypeAlias = Literal["measured", "scaled", "traced", "closed_form", "assumed"]

SOURCES: tuple[Source, ...] = ("measured", "scaled", "traced", "closed_form", "assumed")
"""Strongest first."""


class Quantity(Noun):
    """A number with its 80 % interval, where it comes from and why; the unit is in the name of the field."""

    p10: float
    p50: float
    p90: float
    source: Source
    because: str

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.p10 <= self.p50 <= self.p90:
            raise ValueError(f"an interval has to be ordered: {self.p10}, {self.p50}, {self.p90}")
        return self

    def times(self, factor: float) -> Quantity:
        """The same figure in another unit or multiple; `factor` is not negative."""
        return self.model_copy(update={"p10": self.p10 * factor, "p50": self.p50 * factor, "p90": self.p90 * factor})


class Line(Noun):
    """A quantity as a function of the micro-batch: intercept + slope x batch."""

    intercept: float = 0.0
    slope: float = 0.0

    def at(self, batch: float) -> float:
        """The value at `batch` rows."""
        return self.intercept + self.slope * batch


OperatorClass: TypeAlias = Literal[
    "matmul", "attention", "convolution", "depthwise", "elementwise", "embedding", "optimizer"
]
Component: TypeAlias = Literal[
    "parameters", "gradients", "optimizer", "activations", "logits", "temporaries", "inputs", "buffers"
]


class Operators(Noun):
    """One class of operators over a whole step (forward, backward and optimizer)."""

    kind: OperatorClass
    flops: Line
    moved_bytes: Line
    kernels: int = Field(ge=0)


class Moment(Noun):
    """Bytes alive, by component, at one instant of the step that may be the peak."""

    phase: Literal["forward", "backward", "optimizer"]
    alive_bytes: dict[Component, Line]

    def total_bytes(self, batch: float) -> float:
        """All components together at `batch` rows."""
        return sum(line.at(batch) for line in self.alive_bytes.values())


class Footprint(Noun):
    """What one training step of one rank needs, on whatever GPU, as a function of the micro-batch."""

    source: Source
    because: str
    parameters: int
    trainable: int | None = Field(default=None, description="parameters that get a gradient; None: all, or not known")
    world_size: int = Field(default=1, description="ranks that it is one of; above 1 their buffers are in it")
    gradient_bytes: int
    checkpoint_bytes: int
    operators: tuple[Operators, ...]
    moments: tuple[Moment, ...] = Field(min_length=1, description="the peak is the largest of them at a batch")
    precision: str = "fp32"
    kernel_overhead_s: float | None = Field(
        default=None, description="host seconds to start one of its kernels, where that is known of the program"
    )
    versions: dict[str, str] = Field(default_factory=dict)
    reserved_bytes: dict[int, int] = Field(
        default_factory=dict, description="by batch, what the caching allocator holds, where a trace was replayed"
    )

    def peak(self, batch: float) -> Moment:
        """The moment that is the peak at `batch` rows."""
        return max(self.moments, key=lambda moment: moment.total_bytes(batch))

    def flops(self, batch: float) -> float:
        """Floating-point operations of one step at `batch` rows."""
        return sum(operators.flops.at(batch) for operators in self.operators)

    def moved_bytes(self, batch: float) -> float:
        """Bytes read and written by one step at `batch` rows."""
        return sum(operators.moved_bytes.at(batch) for operators in self.operators)


# ---------------------------------------------------------------- what there is


class Gpu(Noun):
    """One accelerator's facts, without a price. A CPU is a row too, with the rates measured on it."""

    name: str
    kind: Literal["gpu", "cpu"] = "gpu"
    memory_bytes: int
    bandwidth_bytes_per_s: float | None = None
    peak_flops: dict[str, float] = Field(default_factory=dict, description="dense, by precision, per second")
    link_bytes_per_s: float | None = None
    compute_capability: str | None = None
    kernel_overhead_s: float | None = Field(default=None, description="host seconds to start one small kernel")
    context_bytes: int | None = Field(default=None, description="what a process holds before its first tensor")
    startup_s: float | None = Field(default=None, description="to start the interpreter and import the framework")
    threads: int | None = Field(default=None, description="CPU threads that the rates were measured with")
    source: str
    checked: Literal["measured", "seen", "partly", "recalled", "conflict", "assumed"]
    notes: str = ""


class Device(Noun):
    """One place for one rank on a machine: a GPU, or a share of the CPU's cores."""

    index: int
    gpu: str
    kind: Literal["gpu", "cpu"] = "gpu"
    memory_bytes: int
    used_bytes: int = 0
    identity: str = ""


class Machine(Noun):
    """The machine gpuplan is on."""

    name: str = "this machine"
    cpu: str
    cores: int
    memory_bytes: int
    devices: tuple[Device, ...]
    threads_per_rank: int = 1


class Offer(Noun):
    """A machine one can have. What a source does not state is None: shown as unknown, never let through a filter."""

    id: str
    place: str = Field(description="the market or cluster: local, vast, runpod, lambda, slurm, colab, ...")
    gpu: str = Field(description="a name of data/gpus.toml")
    gpu_count: int = Field(ge=1)
    price_usd_per_h: float | None = Field(description="of the whole machine, all its GPUs; None: not sold by the hour")
    available: int | None = Field(default=None, description="how many such machines one can have now")
    spot: bool | None = Field(default=None, description="may be taken away while it runs")
    interruptions_per_h: float | None = Field(default=None, description="measured or stated, of an hour that it runs")
    reliability: float | None = None
    region: str | None = None
    vcpus: int | None = None
    host_memory_bytes: int | None = None
    disk_bytes: int | None = None
    download_bytes_per_s: float | None = None
    upload_bytes_per_s: float | None = None
    download_usd_per_gb: float | None = None
    upload_usd_per_gb: float | None = Field(default=None, description="egress")
    storage_usd_per_gb_month: float | None = None
    billing_s: float | None = Field(default=None, description="the billed unit: 1, 60, 3600")
    minimum_s: float | None = Field(default=None, description="the least that is billed")
    stopped_usd_per_gb_month: float | None = Field(default=None, description="storage of a machine that is stopped")
    startup_s: float | None = Field(default=None, description="from asking to a shell, image pull included")
    notice_s: float | None = Field(default=None, description="from the warning until a spot machine is taken away")
    wait_s: float | None = Field(default=None, description="expected time in a queue")
    session_s: float | None = Field(default=None, description="the longest that one may keep it")
    network_gpus: str | None = Field(default=None, description="how its GPUs are joined: nvlink, pcie, ...")
    exclusive_with: str | None = Field(default=None, description="offers of one value are slices of one machine")
    as_of: str = Field(
        description="date of the price, ISO, or year and month; `now` for one's own machine; empty: undated"
    )
    source: str
    notes: str = ""

    @property
    def gpu_price_usd_per_h(self) -> float | None:
        """What one of its GPUs costs an hour."""
        return None if self.price_usd_per_h is None else self.price_usd_per_h / self.gpu_count

    def age_days(self, today: str) -> int | None:
        """Days from the date of the price, or the first of its month, to `today`; None: undated."""
        if self.as_of in ("", "now"):
            return 0 if self.as_of else None
        day = self.as_of if len(self.as_of) > len("2026-01") else f"{self.as_of}-01"
        return (date.fromisoformat(today) - date.fromisoformat(day)).days

    def is_stale(self, today: str) -> bool:
        """Whether its price is undated or older than `STALE_DAYS`."""
        age = self.age_days(today)
        return age is None or age > STALE_DAYS


class Refused(Noun):
    """An offer that was left out, and why; `unstated` ones would do if what the source does not say were as wished."""

    offer: str = Field(description="its id, or where it stands in its source")
    place: str
    reason: str
    kind: Literal["bad", "filtered", "unstated", "source"] = Field(
        description="not believable; not as wished; wished, but not stated; the whole source gave nothing"
    )
    stated: Offer | None = Field(default=None, description="what was read of it, where that could be read")


class LoggedRun(Noun):
    """One run as a foreign log tells it, before it is accepted as evidence."""

    name: str = Field(description="the run's own name, else the file's")
    format: str = Field(description="which reader understood it: torchtune, hf_trainer, csv, ...")
    path: str
    lines: str = Field(default="", description="where in the file, as in 1-120, if it holds more runs than one")
    settings: Settings = Field(default_factory=dict)
    command: str = ""
    gpu: str | None = Field(default=None, description="as the log names it")
    ranks: int | None = None
    versions: dict[str, str] = Field(default_factory=dict)
    epochs: dict[str, tuple[float, ...]] = Field(
        default_factory=dict, description="per-epoch series by name (loss, val_loss, epoch_s, ...), at most 1,000 each"
    )
    taken: str | None = Field(default=None, description="UTC date, where the log says it")
    notes: tuple[str, ...] = Field(
        default=(), description="how the figures were taken: warm-up left out, which tokens count; no doubts"
    )
    measurement: Measurement


class Evidence(Noun):
    """A measured fact: what ran where, with which software, and how fast and large it was."""

    id: str = Field(description="content hash: the same log twice is one fact")
    kind: Literal["run", "probe", "log"]
    experiment: Name
    run: str
    settings: Settings
    command: str = ""
    gpu: str
    ranks: int = 1
    threads: int | None = None
    versions: dict[str, str] = Field(default_factory=dict)
    measurement: Measurement
    taken: str = Field(description="UTC date")
    log: str = ""


class FileFact(Noun):
    """What stands at a path that the experiment names."""

    path: str
    exists: bool
    size_bytes: int = 0
    is_folder: bool = False
    rows: int | None = None
    splits: dict[str, int | None] = Field(default_factory=dict, description="split name to rows, where countable")
    near: tuple[str, ...] = Field(default=(), description="names beside it that look alike")
    digest: str = ""


class ConfigFact(Noun):
    """What a model's configuration file holds, as JSON has it; `problem` says why it could not be read."""

    path: str
    content: dict[str, Any] | None = None
    problem: str | None = None


SourceKind: TypeAlias = Literal["script", "config", "requirements", "table"]


class SourceFact(Noun):
    """A small file of the user's that the runs read: what it says, and where."""

    path: str = Field(description="from `environment.workdir`, or absolute")
    kind: SourceKind = Field(
        description="code of the runs; a file that a command names; what is to be installed; a data file's rewards"
    )
    text: str = Field(default="", description="of scripts and requirements")
    content: dict[str, Any] = Field(default_factory=dict, description="of a configuration or a table")
    places: dict[str, str] = Field(default_factory=dict, description="key path of a configuration to file:line:col")


class ParserFact(Noun):
    """The long options that a script's argparse parser takes, as the script's text says."""

    options: dict[str, int] = Field(description="as in `--lr`, to the line that adds it")
    is_complete: bool = Field(description="nothing outside of the script can add to them")
    passes_over: bool = Field(description="options that it does not know are ignored, by parse_known_args")


class CommandFact(Noun):
    """Whether a command's program can be started in the run's environment."""

    program: str
    path: str | None = None
    problem: str | None = None
    names: frozenset[str] = Field(default=frozenset(), description="environment variables its script reads by name")
    parser: ParserFact | None = Field(default=None, description="of its script, if it is Python and makes one")


class History(Noun):
    """What the store knows of one run of this experiment."""

    name: str
    key: str
    state: str


class World(Noun):
    """Everything impure that planning looks at, captured once."""

    today: str
    machine: Machine
    gpus: dict[str, Gpu]
    offers: tuple[Offer, ...] = ()
    unstated: tuple[Refused, ...] = Field(
        default=(), description="offers that would do if what their source does not say were as wished"
    )
    evidence: tuple[Evidence, ...] = ()
    footprints: dict[str, Footprint] = Field(default_factory=dict, description="traced, by run key")
    files: dict[str, FileFact] = Field(default_factory=dict)
    programs: dict[str, CommandFact] = Field(default_factory=dict)
    configs: dict[str, ConfigFact] = Field(default_factory=dict, description="by what `footprint.model` names")
    sources: tuple[SourceFact, ...] = Field(default=(), description="scripts, configurations, requirements of the runs")
    mask: str | None = Field(default=None, description="CUDA_VISIBLE_DEVICES that gpuplan was started under")
    history: tuple[History, ...] = ()
    disk_free_bytes: int = 0
    places: dict[str, str] = Field(default_factory=dict, description="spec key path to file:line:col")
    oddities: tuple[Finding, ...] = Field(default=(), description="what was odd while looking")


# ---------------------------------------------------------------- what will be


class MemoryEstimate(Noun):
    """Peak memory of one rank, three numbers that are never mixed; fit is judged on `device_bytes`."""

    allocated_bytes: Quantity
    reserved_bytes: Quantity
    device_bytes: Quantity
    components_bytes: dict[str, float]
    capacity_bytes: int
    fits: Literal["OK", "TIGHT", "NO FIT", "UNKNOWN"]
    oom_probability: float | None = Field(
        default=None, description="that all copies of the run together need more than the device has; None: not known"
    )


class Assumption(Noun):
    """Something taken for granted, and how to replace it."""

    text: str
    change: str = ""


Bound: TypeAlias = Literal["compute", "bandwidth", "launch", "loading", "communication"]


class Estimate(Noun):
    """What one run means on one GPU."""

    run: str
    gpu: str
    memory: MemoryEstimate
    step_s: Quantity
    steps: int | None
    duration_s: Quantity
    disk_bytes: Quantity
    assumptions: tuple[Assumption, ...] = ()
    throughput_samples_per_s: float | None = Field(default=None, description="of all ranks and copies together")
    throughput_tokens_per_s: float | None = Field(default=None, description="the same, padding counted as tokens")
    bound: Bound | None = Field(default=None, description="what rules the time of a step; None: not known")
    utilization: float | None = Field(
        default=None, ge=0, le=1, description="share of a step in which the device works, all copies together"
    )
    mfu: float | None = Field(
        default=None, ge=0, le=1, description="model FLOPs of a step, as a share of the device's dense peak"
    )


class Finding(Noun):
    """One thing that is wrong or worth knowing, with its place, reason and fix."""

    severity: Literal["error", "warning", "note"]
    check: str
    message: str
    place: str
    because: str
    fix: str


class Placement(Noun):
    """Which devices of which offer a run has, and when, counted from the start of the plan."""

    run: str
    offer: str
    devices: tuple[int, ...]
    start_s: Quantity
    end_s: Quantity
    machine: int = Field(default=0, description="which of several machines of the same offer")


class BillLine(Noun):
    """One thing that is paid for."""

    what: Literal[
        "rent",
        "setup",
        "idle",
        "rounding",
        "interruptions",
        "repeated work",
        "download",
        "upload",
        "storage",
        "electricity",
    ]
    cost_usd: Quantity


class Bill(Noun):
    """What a plan costs, line by line; the p50 of the lines add up to that of the total."""

    lines: tuple[BillLine, ...]
    total_usd: Quantity
    hours: Quantity = Field(description="billed, of all machines together")


class RentedMachine(Noun):
    """Machines of one offer in an option."""

    offer: str
    place: str
    gpu: str
    gpu_count: int = Field(ge=1, description="of one machine")
    machines: int = Field(ge=1)
    hours: Quantity = Field(description="billed, of all these machines together")
    price_usd_per_h: float = Field(description="of one machine")
    spot: bool | None = None
    as_of: str = ""
    stage: str | None = None


OptionKind: TypeAlias = Literal[
    "cheapest",
    "fastest",
    "local",
    "one_machine",
    "more_machines",
    "scale_down",
    "scale_up",
    "hybrid",
    "own_and_rented",
    "unstated",
]


class Option(Noun):
    """One way to run everything that is left to run, and what is to be said against it."""

    kind: OptionKind
    title: str
    chosen: bool = False
    machines: tuple[RentedMachine, ...]
    gpus: int = Field(description="at once, at the most")
    cost_usd: Quantity
    makespan_s: Quantity
    bill: Bill
    utilization: float = Field(description="of the GPU time that is paid for, the share in which a run has the GPU")
    bound_usd: float = Field(description="no plan within the same limits costs less; 0: not known")
    gap: float | None = Field(default=None, description="(cost - bound) / bound; None where no bound is known")
    catches: tuple[str, ...] = ()


class Totals(Noun):
    """The whole plan in a line."""

    runs: int
    finished: int = Field(description="of them already done, by key")
    makespan_s: Quantity
    device_hours: Quantity
    cost_usd: Quantity
    disk_bytes: Quantity
    repeats: float = Field(default=0.0, description="attempts that are to be expected beside the placements")


class Fingerprints(Noun):
    """Hashes of what the plan was made from; `apply` compares all but the evidence."""

    spec: str
    machine: str
    inputs: dict[str, str] = Field(description="path to content hash; empty where there was nothing yet")
    offers: str
    evidence: str


class Plan(Noun):
    """The file that `apply` carries out to the letter."""

    SCHEMA: ClassVar[str] = "gpuplan.plan/1"

    schema_: Literal["gpuplan.plan/1"] = Field(default="gpuplan.plan/1", alias="schema")
    experiment: Experiment
    spec_path: str
    base: str = Field(description="the folder that relative paths start from")
    overrides: tuple[str, ...] = Field(default=(), description="--set on top of the spec")
    fingerprints: Fingerprints
    prices_as_of: str | None
    machine: Machine
    runs: tuple[Run, ...]
    estimates: tuple[Estimate, ...]
    placements: tuple[Placement, ...]
    findings: tuple[Finding, ...]
    totals: Totals
    options: tuple[Option, ...] = Field(default=(), description="ways to run it, the chosen first; none if local")
    advice: tuple[str, ...] = Field(default=(), description="what would change the choice")
    assumptions: tuple[Assumption, ...] = Field(default=(), description="about offers; of runs: in estimates")
    offers_table: str | None = Field(default=None, description="the user's own table of offers that was read")
    cautious: bool = Field(default=False, description="planned with p90 durations")

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, populate_by_name=True)


# ---------------------------------------------------------------- what was


class Measurement(Noun):
    """What one run's own records and the samples of its processes say. Unknown is None."""

    world_size: int = 1
    dataset_rows: int | None = None
    batch_size: int | None = Field(default=None, description="global rows a step, as the program states it")
    parameters: int | None = None
    steps: int = 0
    epochs: int = 0
    samples_per_epoch_by_rank: tuple[float, ...] = ()
    step_s: float | None = Field(default=None, description="median, warm-up left out")
    step_p10_s: float | None = None
    step_p90_s: float | None = None
    epoch_s: float | None = Field(default=None, description="mean seconds of the training loop of one epoch")
    samples_per_s: float | None = Field(default=None, description="all ranks together, training only")
    startup_s: float | None = Field(default=None, description="from the launch to the first training step")
    other_s: float | None = Field(default=None, description="after start-up, outside training steps")
    duration_s: float | None = None
    peak_host_bytes: int | None = Field(default=None, description="resident, largest rank")
    peak_allocated_bytes: int | None = None
    peak_reserved_bytes: int | None = None
    peak_device_bytes: int | None = Field(default=None, description="as the driver counts it, largest device")
    peak_tree_bytes: int | None = Field(default=None, description="resident, all processes of the run together")
    checkpoint_bytes: int | None = None
    disk_bytes: int | None = None
    final: dict[str, float] = Field(default_factory=dict)
    best: dict[str, float] = Field(default_factory=dict)
    left: bool = Field(default=False, description="its records end with leaving in good order, to be resumed")
    flags: tuple[str, ...] = Field(default=(), description="what makes these numbers doubtful")
    tokens_per_s: float | None = Field(default=None, description="all ranks together; a log's notes say which tokens")
    device_busy: float | None = Field(default=None, description="share of the time that the device works, 0 to 1")
    cpu_busy: float | None = Field(default=None, description="share of the CPUs it had, 0 to 1")


Status: TypeAlias = Literal[
    "finished",
    "oom_device",
    "oom_host",
    "diverged",
    "timed_out",
    "preempted",
    "killed",
    "crashed",
    "lost",
]


class Outcome(Noun):
    """How a run ended, why we think so, and what to do next."""

    status: Status
    exit_code: int | None = None
    signal: int | None = None
    because: str
    advice: str
    tail: tuple[str, ...] = ()


class Ending(Noun):
    """How the processes of one attempt ended, as the shim recorded it; it survives gpuplan."""

    exit_code: int | None = Field(default=None, description="None: a signal ended it, or nobody saw the end")
    signal: int | None = None
    timed_out: bool = False
    stop_requested: bool = False
    problem: str | None = Field(default=None, description="why the command could not be started")
    started_at: float | None = Field(default=None, description="seconds since the epoch")
    ended_at: float | None = None
    peak_process_bytes: int | None = Field(default=None, description="largest resident process, by getrusage")
    cpu_s: float | None = None


class Sample(Noun):
    """What one look at a running run's processes and devices showed."""

    at: float = Field(description="seconds since the epoch")
    processes: int
    host_bytes: int = Field(description="resident, all processes of the run")
    cpu_s: float = Field(description="since each of them started, all together")
    device_bytes: int | None = Field(default=None, description="GPU memory of the run's processes, largest device")
    device_busy: float | None = Field(default=None, description="0 to 1, mean over the run's devices")


class Provenance(Noun):
    """What exactly ran: code, environment, versions."""

    argv: tuple[str, ...]
    workdir: str
    commit: str | None = None
    dirty: bool | None = None
    diff: str | None = Field(default=None, description="file in the run's folder that holds the uncommitted change")
    python: str | None = None
    versions: dict[str, str] = Field(default_factory=dict)
    environment: dict[str, str] = Field(default_factory=dict, description="what gpuplan set; secrets masked")
    machine: str = ""


State: TypeAlias = Literal["waiting", "starting", "running", "stopping"] | Status


class RunRecord(Noun):
    """Everything the store holds of one run."""

    experiment: str
    run: Run
    folder: str
    state: State
    attempt: int = 0
    devices: tuple[int, ...] = ()
    started_at: float | None = None
    ended_at: float | None = None
    ending: Ending | None = None
    outcome: Outcome | None = None
    measurement: Measurement | None = None
    provenance: Provenance | None = None
    estimate: Estimate | None = Field(default=None, description="what was predicted before it started")


Evidence.model_rebuild()
LoggedRun.model_rebuild()
World.model_rebuild()
