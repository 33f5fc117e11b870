"""Steps of several ranks: data-parallel, and with sharded parameters."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FullyShardedDataParallel, ShardingStrategy
from torch.nn.parallel import DistributedDataParallel

try:
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
except ImportError:  # before torch 2.6
    from torch.distributed._composable.fsdp import MixedPrecisionPolicy, fully_shard

if TYPE_CHECKING:
    from collections.abc import Callable

WIDTH, LAYERS = 512, 4


def network() -> nn.Sequential:
    """Layers of 1 MiB, and one more byte for each that is not a matrix."""
    return nn.Sequential(*(nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(LAYERS)))


def start() -> None:
    torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("nccl")


def train(model: nn.Module, settings: dict[str, Any]) -> Callable[[], None]:
    optimizer = torch.optim.AdamW(model.parameters())

    def step() -> None:
        rows = torch.randn(settings["batch_size"], WIDTH, device="cuda")
        model(rows).pow(2).mean().backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def data_parallel(settings: dict[str, Any]) -> Callable[[], None]:
    start()
    views = bool(settings.get("views"))
    model = DistributedDataParallel(network().cuda(), device_ids=[0], gradient_as_bucket_view=views)
    return train(model, settings)


def sharded(settings: dict[str, Any]) -> Callable[[], None]:
    start()
    model = network().cuda()
    precision = MixedPrecisionPolicy(param_dtype=torch.bfloat16) if settings.get("mixed") else MixedPrecisionPolicy()
    for layer in model:
        fully_shard(layer, mp_policy=precision)
    fully_shard(model, mp_policy=precision)
    return train(model, settings)


def meshed(settings: dict[str, Any]) -> Callable[[], None]:
    """Sharded over half of the ranks, and a copy for each half; with groups and objects of its own."""
    mesh = init_device_mesh("cuda", (2, 2), mesh_dim_names=("replicate", "shard"))
    names = [""] * dist.get_world_size()
    dist.all_gather_object(names, "here")
    group = dist.new_group([0, 1], backend="nccl")
    assert (dist.get_world_size(group), names) == (2, ["here"] * 4)
    model = network().cuda()
    fully_shard(model, mesh=mesh)
    return train(model, settings)


def clipped(settings: dict[str, Any]) -> Callable[[], None]:
    """The norm of all shards."""
    start()
    model = network().cuda()
    fully_shard(model)
    inner = train(model, settings)

    def step() -> None:
        inner()
        model(torch.randn(2, WIDTH, device="cuda")).sum().backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)

    return step


def flat(settings: dict[str, Any]) -> Callable[[], None]:
    start()
    model = FullyShardedDataParallel(
        network().cuda(),
        auto_wrap_policy=lambda module, recurse, nonwrapped_numel: recurse or isinstance(module, nn.Linear),
        sharding_strategy=ShardingStrategy.FULL_SHARD,
        device_id=0,
        use_orig_params=True,
    )
    return train(model, settings)


def reduced(settings: dict[str, Any]) -> Callable[[], None]:
    """Gradients averaged by hand."""
    start()
    model = network().cuda()
    inner = train(model, settings)

    def step() -> None:
        inner()
        total = torch.ones(1, device="cuda")
        dist.all_reduce(total)
        gathered = [torch.empty_like(total) for _ in range(dist.get_world_size())]
        dist.all_gather(gathered, total)
        dist.barrier()
        assert dist.get_world_size() == int(os.environ["WORLD_SIZE"])
        assert dist.get_rank() == 0

    return step
