"""Several processes at one job, started by torchrun: who takes which batches, and how they join what they found.

    torchrun --nproc-per-node 4 -m ganpatch rank model.pt --n 100000 -o run

    group = Group.of_environment()
    own = group.share(batches)              # batch i goes to process i mod size: each is the same forward pass as alone
    states = group.gathered(tensors)        # everyone's tensors, in their order, on every process

One process alone is a group of one; nothing here is asked of it. Where the processes run, on one machine or on several,
is torchrun's affair: they find each other by the environment that it sets.
"""

import os
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from safetensors.torch import load, save
from torch import Tensor
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

from ganpatch.errors import GanpatchError
from ganpatch.forward.activations import Progress
from ganpatch.number_ranges import format_spans

T = TypeVar("T")

_LONGEST = timedelta(days=7)  # that a process may be behind; one that dies is noticed at once
_GLANCE = 0.005  # seconds between looks at whether the others are there: signals are heard in between
_TELL = 0.5  # seconds between reports of progress
_REAPED = 3.0  # seconds in which a dead process is seen to be gone


class Lost(GanpatchError):
    """Another process of the group is gone."""


class Group:
    """The processes that do one job; without arguments, one alone."""

    def __init__(self, rank: int = 0, size: int = 1, store: Store | None = None) -> None:
        self.rank, self.size, self._store = rank, size, store
        self._device, self._counters = torch.device("cpu"), 0
        if store is not None:
            store.set(f"process/{rank}", f"{socket.gethostname()} {os.getpid()}")

    @classmethod
    def of_environment(cls) -> "Group":
        """Return the group that torchrun's environment describes, or one of this process alone."""
        if int(os.environ.get("WORLD_SIZE", 1)) == 1:
            return cls()
        try:
            store, rank, size = next(iter(rendezvous("env://", timeout=timedelta(minutes=10))))
        except (ValueError, RuntimeError) as fault:
            raise GanpatchError(
                f"WORLD_SIZE is set, and the processes cannot meet: {fault}; torchrun starts them"
            ) from fault
        return cls(rank, size, store)

    @property
    def is_first(self) -> bool:
        """Return whether this process shows progress and writes files."""
        return self.rank == 0

    def join(self, device: str = "cpu") -> None:
        """Meet the other processes: over gloo, or where they run on CUDA devices over nccl."""
        if self.size == 1 or dist.is_initialized():
            return
        assert self._store is not None
        self._device = torch.device(device)
        backend = "gloo" if self._device.type == "cpu" else "nccl"
        if backend == "nccl":
            torch.cuda.set_device(self._device)
        self._wait_for_all(self._store)
        store = PrefixStore("group", self._store)
        dist.init_process_group(backend, store=store, rank=self.rank, world_size=self.size, timeout=_LONGEST)

    def _wait_for_all(self, store: Store) -> None:
        """Wait here, where signals are heard: one of the others may have died before it came so far."""
        store.set(f"here/{self.rank}", "")
        while not store.check([f"here/{rank}" for rank in range(self.size)]):
            time.sleep(_GLANCE)

    def leave(self, *, well: bool) -> None:
        """Report that this process ends of itself, and part from the others if all is well."""
        self._ask(lambda store: store.set(f"left/{self.rank}", ""))
        if well and self.size > 1 and dist.is_initialized():
            dist.destroy_process_group()

    def share(self, batches: Sequence[T]) -> Sequence[T]:
        """Return this process's batches."""
        return batches[self.rank :: self.size]

    def mapped(self, work: Callable[[T], Tensor], batches: Sequence[T]) -> Tensor:
        """Return the rows [n, ...] that `work` makes of each batch, in their order; each process does its share."""
        own = [work(batch) for batch in self.share(batches)]
        if self.size == 1:
            return torch.cat(own)
        parts = self.gathered({str(place): rows for place, rows in enumerate(own)})
        device = own[0].device if own else self._device
        return torch.cat([parts[i % self.size][str(i // self.size)] for i in range(len(batches))]).to(device)

    def gathered(self, tensors: Mapping[str, Tensor], *, first_only: bool = False) -> list[dict[str, Tensor]]:
        """Return the tensors of all processes, on the CPU, in the order of the processes.

        Tensors may differ between processes. With `first_only` only the first process gets them.
        Raises Lost when a process is gone.
        """
        if self.size == 1:
            return [dict(tensors)]
        self.join()
        packed = torch.frombuffer(
            bytearray(save({k: t.cpu().contiguous() for k, t in tensors.items()})), dtype=torch.uint8
        )
        sizes = [int(size) for size in self._collected(torch.tensor([len(packed)]), first_only=False)]
        padded = torch.zeros(max(sizes), dtype=torch.uint8)
        padded[: len(packed)] = packed
        parts = self._collected(padded, first_only=first_only)
        return [load(part[:size].numpy().tobytes()) for part, size in zip(parts, sizes, strict=False)]

    def from_first(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the tensors of the first process to all."""
        return self.gathered(tensors if self.is_first else {})[0]

    def counting(self, progress: Progress) -> Progress:
        """Return what adds up the progress of all processes, each of its own share; the first shows it now and then."""
        if self.size == 1:
            return progress
        key, last, told = f"done/{self._counters}", 0, 0.0
        self._counters += 1

        def count(done: int, total: int) -> None:
            nonlocal last, told
            if time.monotonic() - told > _TELL:
                of_all = self._ask(lambda store: store.add(key, done - last))
                last, told = done, time.monotonic()
                if self.is_first and of_all is not None:
                    progress(of_all, total)

        return count

    def is_teller(self) -> bool:
        """Return whether this process is the first to report how the run ended; the others then stay silent."""
        told = self._ask(lambda store: store.add("told", 1))
        return told is None or told == 1

    def lost(self, within: float = 0.0) -> list[int]:
        """Return the processes of this machine that died without a word, waiting at most so many seconds for one."""
        until = time.monotonic() + within
        while True:
            gone = [rank for rank in range(self.size) if rank != self.rank and self._ask(self._is_lost_of(rank))]
            if gone or time.monotonic() > until:
                return gone
            time.sleep(_GLANCE)

    def _is_lost_of(self, rank: int) -> Callable[[Store], bool]:
        def is_lost(store: Store) -> bool:
            if store.check([f"left/{rank}"]) or not store.check([f"process/{rank}"]):
                return False
            host, pid = store.get(f"process/{rank}").decode().split()
            return host == socket.gethostname() and not _is_alive(int(pid))

        return is_lost

    def _ask(self, work: Callable[[Store], T]) -> T | None:
        """Do something with the store that all share; None without one, or when torchrun, which holds it, is gone."""
        try:
            return None if self._store is None else work(self._store)
        except RuntimeError:
            return None

    def _collected(self, tensor: Tensor, *, first_only: bool) -> list[Tensor]:
        """Return everyone's tensors, which are equally large; raise Lost when a process is gone."""
        own = tensor.to(self._device)
        parts = [torch.empty_like(own) for _ in range(self.size)] if self.is_first or not first_only else None
        try:
            if first_only:
                work = dist.gather(own, parts, dst=0, async_op=True)
            else:
                work = dist.all_gather(parts, own, async_op=True)
            while not work.is_completed():
                time.sleep(_GLANCE)
            work.wait()
        except RuntimeError as fault:
            raise Lost(self.loss(self.lost(within=_REAPED))) from fault
        return [part.cpu() for part in parts or ()]

    def loss(self, gone: Sequence[int]) -> str:
        """Report that the processes `gone` are gone, or that it is not known which."""
        who = f"process {format_spans(gone)} of {self.size}" if gone else "a process on another machine"
        return f"{who} died; the others stopped"


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


ALONE = Group()
