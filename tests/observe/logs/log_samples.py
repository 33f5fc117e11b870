"""Logs of every format as their writers lay them out, small, with figures that the tests know."""

from __future__ import annotations

import json
import struct
import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

STEP_S = 0.5
"""Seconds of a step in every log that tells of steps."""
EVALUATION_S = 3.2
GIB = 2**30
BAR = "█▋        "


def loss_at(step: int) -> float:
    return round(3 / (1 + step / 50), 4)


def clock(seconds: float) -> str:
    whole = int(seconds)
    return f"{whole // 60:02d}:{whole % 60:02d}"


def torchtune_bar(*, epochs: int = 2, steps: int = 200, checkpoint_s: float = 33.0) -> str:
    """As a recipe draws it: first step slow, each state drawn twice, the last again after the checkpoint."""
    text = (
        "Running LoRAFinetuneRecipeSingleDevice with resolved config:\n\n"
        "INFO:torchtune.utils._logging:Memory stats after model init:\n"
        "        GPU peak memory allocation: 2.52 GiB\n        GPU peak memory reserved: 2.56 GiB\n"
    )
    for epoch in range(epochs):
        for done in range(1, steps + 1):
            at, elapsed = epoch * steps + done, clock(8 + done * STEP_S)
            tail = f"{100 * done // steps:3d}%|{BAR}| {done}/{steps} [{elapsed}<01:42,  {1 / STEP_S:.2f}it/s]"
            text += f"\r{epoch + 1}|{at - 1}|Loss: {loss_at(at - 1)}: {tail}" if done > 1 else ""
            text += f"\r{epoch + 1}|{at}|Loss: {loss_at(at)}: {tail}"
        ended = clock(8 + steps * STEP_S + checkpoint_s)
        text += f"\nStarting checkpoint save for epoch {epoch}...\nCheckpoint saved in 33.06 seconds.\n"
        text += f"\r{epoch + 1}|{at}|Loss: {loss_at(at)}: 100%|{BAR}| {steps}/{steps} [{ended}<00:00,  1.6it/s]"
    return text + "\n"


def torchtune_lines(*, steps: int = 100) -> str:
    text = ""
    for step in range(1, steps + 1):
        text += (
            f"Step {step} | loss:{loss_at(step)} lr:2e-05 tokens_per_second_per_gpu:{4000 + step % 5} "
            f"peak_memory_active:{18 + step / 100:.2f} peak_memory_alloc:17.5 peak_memory_reserved:20.00 \n"
        )
        if step % 50 == 0:
            text += f"Step {step} | val_loss:tensor({loss_at(step) + 0.1:.4f}, device='cuda:0') \n"
    return text


def hugging_face_output(*, steps: int = 200) -> str:
    text = ""
    for step in range(1, steps + 1):
        epoch = f"{step / 100:.2f}"
        at_s = step * STEP_S + (step - 1) // 100 * EVALUATION_S
        text += f"\r{100 * step // steps:3d}%|{BAR}| {step}/{steps} [{clock(at_s)}<00:10,  2.00it/s]"
        if step % 2 == 0:
            text += f"\n{{'loss': {loss_at(step)}, 'grad_norm': 1.25, 'learning_rate': 4.9e-05, 'epoch': {epoch}}}\n"
        if step % 100 == 0:
            text += f"{{'eval_loss': {loss_at(step) + 0.1}, 'eval_runtime': {EVALUATION_S}, 'epoch': {epoch}}}\n"
    return text + (
        "\n{'train_runtime': 110.0, 'train_samples_per_second': 29.09, 'train_steps_per_second': 1.818, "
        "'train_loss': 1.5, 'epoch': 2.0}\n"
    )


def trainer_state(*, steps: int = 200) -> str:
    history: list[dict[str, float]] = []
    for step in range(10, steps + 1, 10):
        history.append(
            {"epoch": step / 100, "grad_norm": 1.25, "learning_rate": 5e-5, "loss": loss_at(step), "step": step}
        )
        if step % 100 == 0:
            evaluated = {"eval_loss": loss_at(step) + 0.1, "eval_runtime": EVALUATION_S}
            history.append({"epoch": step / 100, **evaluated, "step": step})
    duration_s = steps * STEP_S + steps // 100 * EVALUATION_S
    history.append({
        "epoch": 2.0, "step": steps, "total_flos": 1e15, "train_loss": 1.5, "train_runtime": duration_s,
        "train_samples_per_second": 32 * steps / duration_s, "train_steps_per_second": steps / duration_s,
    })  # fmt: skip
    state = {
        "best_metric": None,
        "epoch": 2.0,
        "global_step": steps,
        "log_history": history,
        "max_steps": steps,
        "num_train_epochs": 2,
        "stateful_callbacks": {"TrainerControl": {"args": {"x": 1}}},
        "train_batch_size": 16,
    }
    return json.dumps(state, indent=2) + "\n"


def lightning_csv(*, epochs: int = 4, steps: int = 50) -> str:
    text = "epoch,step,train_loss,val_acc,val_loss\n"
    for epoch in range(epochs):
        for step in range(epoch * steps + 9, (epoch + 1) * steps, 10):
            text += f"{epoch},{step},{loss_at(step)},,\n"
        text += f"{epoch},{(epoch + 1) * steps - 1},,{0.5 + epoch / 10},{loss_at(step) + 0.1}\n"
    return text


def lightning_bar(*, epochs: int = 2, steps: int = 100) -> str:
    text = f"Sanity Checking DataLoader 0: 100%|{BAR}| 2/2 [00:09<00:00,  0.20it/s]\n"
    for epoch in range(epochs):
        for done in range(1, steps + 1):
            text += (
                f"\rEpoch {epoch}: {100 * done // steps:3d}%|{BAR}| {done}/{steps} [{clock(done * STEP_S)}<00:10, "
                f"2.00it/s, v_num=0, train_loss={loss_at(epoch * steps + done)}]"
            )
    return text + "\n"


def accelerate(*, steps: int = 300) -> str:
    text = f"Loading checkpoint shards: 100%|{BAR}| 4/4 [01:40<00:00, 25.00s/it]\n"
    text += "".join(
        f"\r{100 * done // steps:3d}%|{BAR}| {done}/{steps} [{clock(done * STEP_S)}<00:10,  2.00it/s]"
        for done in range(1, steps + 1)
    )
    return text + "\n"


def nanogpt(*, steps: int = 120) -> str:
    text = "tokens per iteration will be: 491,520\n"
    for step in range(steps):
        evaluates = step % 50 == 0
        if evaluates:
            text += f"step {step}: train loss {loss_at(step)}, val loss {loss_at(step) + 0.1:.4f}\n"
        ms = 1000 * STEP_S * (20 if evaluates else 1)
        text += f"iter {step}: loss {loss_at(step)}, time {ms:.2f}ms, mfu {-100 if step < 5 else 30.12:.2f}%\n"
    return text


def llmc(*, steps: int = 100) -> str:
    return "".join(
        f"step {step:5d}/{steps} | loss {loss_at(step):.6f} (+nanz)| norm 1.2345 (+nanz)| lr 6.00e-04 | "
        f"{1000 * STEP_S:.2f} ms | 30.1% bf16 MFU | {1_048_576 if step > 1 else 900_000} tok/s\n"
        for step in range(1, steps + 1)
    )


def csv_steps(*, steps: int = 500, first: int = 0) -> str:
    rows = (f"{step},{loss_at(step)},{STEP_S + (5 if step == first else 0)}\n" for step in range(first, first + steps))
    return "step,train_loss,step_time_s\n" + "".join(rows)


def json_lines(*, steps: int = 200) -> str:
    return "".join(
        json.dumps({"step": step, "loss": loss_at(step), "timestamp": 1.7e9 + step * STEP_S, "gpu_mem_gib": 11.5})
        + "\n"
        for step in range(1, steps + 1)
    )


def nvidia_smi(*, samples: int = 40) -> str:
    text = "timestamp, name, utilization.gpu [%], utilization.memory [%], memory.used [MiB], power.draw [W]\n"
    for sample in range(samples):
        utilization = "[N/A]" if sample == 3 else f"{90 + sample % 2 * 5} %"
        text += (
            f"2026/02/03 10:{sample // 2:02d}:{sample % 2 * 30:02d}.123, NVIDIA A100-SXM4-80GB, {utilization}, 40 %, "
            f"{18000 + sample} MiB, 310.55 W\n"
        )
    return text


def dcgm(*, samples: int = 20) -> str:
    text = "# Entity          GPUTL                MCUTL                FBUSD\n      Id\n"
    for sample in range(samples):
        text += f"    GPU 0           98                   40                   {40000 + sample}\n"
        text += "    GPU 1           N/A                  N/A                  39000\n"
    return text


def sacct() -> str:
    return (
        "JobID|JobName|State|Elapsed|TotalCPU|AllocCPUS|MaxRSS|AllocTRES|Start|TRESUsageInMax|TRESUsageInAve\n"
        "4711|train|COMPLETED|01:00:00|04:00:00|8||billing=8,cpu=8,gres/gpu:a100=4,mem=64G,node=1|2026-02-03T10:00:00||\n"
        "4711.batch|batch|COMPLETED|01:00:00|00:00:01|8|2048K|cpu=8||cpu=00:00:01|\n"
        "4711.0|python|COMPLETED|00:59:59|03:59:59|8|12582912K|cpu=8||cpu=04:00:00,gres/gpumem=30000M,gres/gpuutil=93|"
        "gres/gpuutil=88\n"
        "4712|big|OUT_OF_MEMORY|00:10:00|00:10:00|8||cpu=8,gres/gpu=1|2026-02-03T12:00:00||\n"
    )


def seff() -> str:
    return (
        "Job ID: 4711\nCluster: della\nUser/Group: me/us\nState: COMPLETED (exit code 0)\nNodes: 1\nCores per node: 8\n"
        "CPU Utilized: 04:00:00\nCPU Efficiency: 50.00% of 08:00:00 core-walltime\nJob Wall-clock time: 01:00:00\n"
        "Memory Utilized: 12.00 GB\nMemory Efficiency: 24.00% of 50.00 GB\n"
    )


def jobstats() -> str:
    bar = "|" * 20
    return (
        f"{'=' * 80}\n                              Slurm Job Statistics\n{'=' * 80}\n"
        "         Job ID: 39798795\n  User/Account: aturing/math\n       Job Name: sys_logic\n"
        "          State: COMPLETED\n          Nodes: 1\n      CPU Cores: 48\n           GPUs: 2\n"
        "       Run Time: 18:41:56\n     Time Limit: 4-00:00:00\n\n                              Overall Utilization\n"
        f"  CPU utilization  [{bar[:4]}                     10%]\n  CPU memory usage [{bar[:3]}          6%]\n"
        f"  GPU utilization  [{bar}           68%]\n  GPU memory usage [{bar}           66%]\n\n"
        "  CPU memory usage per node - used/allocated\n      della-i14g2: 7.9GB/128.0GB (335MB/5.3GB per core of 24)\n"
        "  GPU memory usage per node - maximum used/total\n"
        "      della-i14g2 (GPU 0): 26.5GB/40.0GB (66.2%)\n      della-i14g2 (GPU 1): 26.0GB/40.0GB (65.0%)\n"
    )


# ---------------------------------------------------------------- binary formats, by their published layout


def varint(number: int) -> bytes:
    out = b""
    while number > 127:
        out, number = out + bytes([number & 127 | 128]), number >> 7
    return out + bytes([number])


def field(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


def crc32c(content: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in content:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def masked(content: bytes) -> bytes:
    crc = crc32c(content)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def tf_record(content: bytes) -> bytes:
    size = struct.pack("<Q", len(content))
    return size + masked(size) + content + masked(content)


def tensorboard(*, steps: int = 40) -> bytes:
    version = b"\x09" + struct.pack("<d", 1.7e9) + field(3, b"brain.Event:2")
    out = tf_record(version)
    for step in range(steps):
        value = field(1, b"train/loss") + b"\x15" + struct.pack("<f", loss_at(step))
        event = b"\x09" + struct.pack("<d", 1.7e9 + step * STEP_S) + b"\x10" + varint(step) + field(5, field(1, value))
        out += tf_record(event)
    return out


def leveldb(records: list[bytes]) -> bytes:
    """W&B's framing: a header of 7 bytes, blocks of 32 KiB, each part with crc32, length and kind."""
    out = b":W&B" + struct.pack("<HB", 0xBEE1, 0)
    for record in records:
        rest, first = record, True
        while rest or first:
            left = 32768 - len(out) % 32768
            if left < 7:
                out, left = out + bytes(left), 32768
            part, rest = rest[: left - 7], rest[left - 7 :]
            kind = (2 if rest else 1) if first else (3 if rest else 4)
            out += struct.pack("<IHB", zlib.crc32(bytes([kind]) + part), len(part), kind) + part
            first = False
    return out


def wandb(*, steps: int = 60, filler: int = 0) -> bytes:
    """`filler`: bytes of a note in each row, so that records go over the ends of blocks."""

    def item(key: str, value: object) -> bytes:
        return field(1, field(1, key.encode()) + field(16, json.dumps(value).encode()))

    config = field(1, field(1, b"lr") + field(16, b"0.001")) + field(1, field(1, b"world_size") + field(16, b"4"))
    records = [field(17, field(1, b"abc123") + field(4, config) + field(8, b"sunny-run-7"))]
    for step in range(steps):
        row = b"".join([
            item("_step", step), item("_timestamp", 1.7e9 + step * STEP_S), item("train/loss", loss_at(step)),
            item("note", "x" * filler),
        ])  # fmt: skip
        records.append(field(2, row))
    stats = field(3, field(1, b"gpu.0.gpu") + field(16, b"80.0"))
    stats += field(3, field(1, b"gpu.0.memoryAllocatedBytes") + field(16, str(12 * GIB).encode()))
    return leveldb([*records, field(7, stats), field(18, b"")])


def mlflow(root: Path, *, steps: int = 40) -> Path:
    folder = root / "mlruns" / "1" / "0123456789abcdef"
    for name in ("metrics/val", "metrics/system", "params"):
        (folder / name).mkdir(parents=True)
    (folder / "meta.yaml").write_text("run_id: 0123456789abcdef\nrun_name: bold-run\nstatus: 3\n")
    start = 1_700_000_000_000
    rows = [(start + int(step * STEP_S * 1000), step) for step in range(steps)]
    (folder / "metrics" / "loss").write_text("".join(f"{at} {loss_at(step)} {step}\n" for at, step in rows))
    (folder / "metrics" / "val" / "acc").write_text("".join(f"{at} {step / steps} {step}\n" for at, step in rows[::10]))
    (folder / "metrics" / "system" / "gpu_0_utilization_percentage").write_text(f"{start} 75.0 0\n{start} 85.0 1\n")
    (folder / "metrics" / "system" / "gpu_0_memory_usage_megabytes").write_text(f"{start} 12000.5 0\n")
    (folder / "params" / "lr").write_text("0.001")
    (folder / "params" / "batch_size").write_text("32")
    return folder


TEXTS: dict[str, Callable[[], str]] = {
    "slurm-4711.out": torchtune_bar,
    "log_1700000000.txt": torchtune_lines,
    "hf.log": hugging_face_output,
    "trainer_state.json": trainer_state,
    "lightning.csv": lightning_csv,
    "lightning.log": lightning_bar,
    "accelerate.log": accelerate,
    "nanogpt.log": nanogpt,
    "llmc.log": llmc,
    "steps.csv": csv_steps,
    "steps.jsonl": json_lines,
    "gpu_metrics.csv": nvidia_smi,
    "dcgm.txt": dcgm,
    "sacct.txt": sacct,
    "seff.txt": seff,
    "jobstats.txt": jobstats,
}
BINARIES: dict[str, Callable[[], bytes]] = {
    "events.out.tfevents.1.host.1.0": tensorboard,
    "run-abc123.wandb": wandb,
}


def all_samples() -> dict[str, bytes]:
    """Every format that is one file, by a usual name."""
    texts = {name: make().encode() for name, make in TEXTS.items()}
    return texts | {name: make() for name, make in BINARIES.items()}
