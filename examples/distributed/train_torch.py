"""Train an emitted 3D UNet on several processes: DDP, or FSDP2 with sharded weights.

    plainnet emit unet.toml --target torch -o unet_torch.py
    python train_torch.py
    torchrun --standalone --nproc-per-node 2 train_torch.py
    torchrun --standalone --nproc-per-node 2 train_torch.py --engine fsdp

All three print the same losses: each process takes its share of the same global batch. With GPUs,
each process takes one; without, they share the CPU.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.fsdp import fully_shard
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel
from unet_torch import BasicBlock, DecoderBlock, SmallUNet


def batches(steps: int, count: int, size: int):
    """Global batches, the same in every process: noise, and where its local mean is positive."""
    generator = torch.Generator().manual_seed(0)
    for _ in range(steps):
        image = torch.randn(count, 1, size, size, size, generator=generator)
        yield image, (F.avg_pool3d(image, 3, stride=1, padding=1) > 0).float()


def wrapped(model: nn.Module, engine: str) -> nn.Module:
    """The model, made to average its gradients over all processes."""
    if engine == "fsdp":
        for module in model.modules():  # gathered when they run, one at a time
            if isinstance(module, BasicBlock | DecoderBlock):
                fully_shard(module)
        return fully_shard(model)
    return DistributedDataParallel(model)


def main(arguments: list[str] | None = None) -> list[float]:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--engine", choices=("ddp", "fsdp"), default="ddp")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--batch", type=int, default=4, help="images of all processes together")
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("-o", type=Path, help="save the weights, as the emitted file loads them")
    asked = parser.parse_args(arguments)

    processes, rank = int(os.environ.get("WORLD_SIZE", 1)), int(os.environ.get("RANK", 0))
    if asked.batch % processes:
        parser.error(f"--batch {asked.batch} does not divide among {processes} processes")
    device = torch.device("cpu")
    if torch.cuda.is_available():
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
        torch.cuda.set_device(device)
    torch.manual_seed(0)  # the same initial weights everywhere
    model: nn.Module = SmallUNet().to(device)
    if processes > 1:
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
        if device.type == "cuda":  # changes networks with batch norm only; there is none for CPUs
            model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
        model = wrapped(model, asked.engine)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

    losses = []
    for image, mask in batches(asked.steps, asked.batch, asked.size):
        image, mask = (whole.chunk(processes)[rank].to(device) for whole in (image, mask))
        loss: Tensor = F.binary_cross_entropy_with_logits(model(image), mask)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        mean = loss.detach()
        if processes > 1:
            dist.all_reduce(mean)
        losses.append(mean.item() / processes)
        if rank == 0:
            print(f"step {len(losses):2}  loss {losses[-1]:.6f}", flush=True)

    whole = StateDictOptions(full_state_dict=True, cpu_offload=True)
    state = get_model_state_dict(model, options=whole)  # every process takes part
    if asked.o and rank == 0:
        torch.save(state, asked.o)
    if processes > 1:
        dist.destroy_process_group()
    return losses


if __name__ == "__main__":
    main()
