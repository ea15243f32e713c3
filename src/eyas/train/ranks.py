"""The processes of one training run: one alone, or several under `torchrun`."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import distributed

from eyas.backends.device import parse_device
from eyas.errors import BackendError

PATIENCE = timedelta(hours=2)
"""The other processes wait this long while the first one validates."""


@dataclass(frozen=True)
class Ranks:
    """This process's number, how many there are, and the device it works on."""

    rank: int
    count: int
    device: torch.device

    @property
    def first(self) -> bool:
        return self.rank == 0

    def agree(self, stop: bool) -> bool:
        """What the first process says; all processes must ask at the same place."""
        if self.count == 1:
            return stop
        word = torch.tensor([int(stop)], device=self.device)
        distributed.broadcast(word, 0)
        return bool(word.item())


@contextmanager
def open_ranks(device: str | None) -> Iterator[Ranks]:
    """Join the processes that `torchrun` started (gloo on CPUs, NCCL on GPUs), or work alone.

    `device` None is the first GPU that torch can use, else the CPU. Raises BackendError where several GPUs are
    named but the processes for them were not started.
    """
    rank, count = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    chosen = parse_device(device or ("gpu" if torch.cuda.is_available() else "cpu"))
    if count == 1 and len(chosen.ids) > 1:
        raise BackendError(
            f"Global.device: {device} names {len(chosen.ids)} devices, which takes a process for each. Use: "
            f"torchrun --nproc-per-node {len(chosen.ids)} -m eyas train -c ... -o Global.device={device}"
        )
    if chosen.kind != "gpu":
        torch_device = torch.device(chosen.kind)
    else:
        local = int(os.environ.get("LOCAL_RANK", 0))
        torch_device = torch.device("cuda", chosen.ids[local] if chosen.ids else local)
    if count == 1:
        yield Ranks(0, 1, torch_device)
        return
    distributed.init_process_group("gloo" if torch_device.type == "cpu" else "nccl", timeout=PATIENCE)
    try:
        yield Ranks(rank, count, torch_device)
    finally:
        distributed.destroy_process_group()
