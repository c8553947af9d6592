"""§4.1 Several processes train one network, a part of each batch each, as one process would.

`torchrun --nproc-per-node N -m dasrlib.cli train …` starts them; Lightning Fabric's DDP averages
their gradients. L_degrad and BatchNorm are of the whole batch: the embeddings of all processes are
put together, in one order, before they are compared or enter the queue, and so are the statistics.
With statistics of its own part, a process would tell its pictures' keys from the others' by them.
"""

from __future__ import annotations

import functools
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, distributed, nn


class SharedBatchNorm(nn.BatchNorm2d):
    """BatchNorm whose statistics in training are those of the batches of all processes.

    PyTorch's SyncBatchNorm does not run on a processor.
    """

    gather: Callable[[Tensor], Tensor]  # (1, …) of each process -> (N, …), with a gradient

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        wide = x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
        with torch.autocast(x.device.type, enabled=False):
            own = [wide.mean((0, 2, 3)), wide.var((0, 2, 3), unbiased=False)]  # (C,) each
            means, variances = self.gather(torch.stack(own)[None]).unbind(1)  # (N, C) each
            mean = means.mean(0)
            variance = variances.mean(0) + means.var(0, unbiased=False)
            with torch.no_grad():
                count = len(means) * x.numel() / x.shape[1]  # values of a channel
                assert self.running_mean is not None
                assert self.running_var is not None
                assert self.num_batches_tracked is not None
                assert self.momentum is not None
                self.running_mean.lerp_(mean, self.momentum)
                self.running_var.lerp_(variance * count / (count - 1), self.momentum)
                self.num_batches_tracked += 1
            shape = (1, -1, 1, 1)
            scale = self.weight * (variance + self.eps).rsqrt()
            shared = (wide - mean.view(shape)) * scale.view(shape) + self.bias.view(shape)
        return shared.to(x.dtype)


class GatherParts(torch.autograd.Function):
    """(B/N, …) of each process -> (B, …); one message there, one back."""

    @staticmethod
    def forward(ctx: Any, own: Tensor, part: slice, count: int) -> Tensor:
        """The parts of all processes, in one order."""
        ctx.part = part
        parts = [torch.empty_like(own) for _ in range(count)]
        distributed.all_gather(parts, own)
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        """The gradients of this process's part, summed over all processes."""
        # Each process has a loss of its own, and all of them were computed of each part.
        total = gradients[0].clone()
        distributed.all_reduce(total)
        return total[ctx.part], None, None


class Processes:
    """The processes of a training, seen from one of them; of one process, which tells nobody.

    fabric: launched; None for a process alone.
    """

    def __init__(self, fabric: Any = None) -> None:
        self.fabric = fabric
        self.count: int = fabric.world_size if fabric else 1
        self.rank: int = fabric.global_rank if fabric else 0
        # Of processors: a word over a GPU's group would wait for all of its work.
        self.words = distributed.new_group(backend="gloo") if self.count > 1 else None

    def part_of(self, batch: int) -> slice:
        """Which of a batch's pictures this process has; the order of the parts is the batch's."""
        own = batch // self.count
        return slice(self.rank * own, (self.rank + 1) * own)

    def gather(self, own: Tensor) -> Tensor:
        """(B/N, …) of each process -> (B, …), the same on all; gradients return to each part."""
        if self.count == 1:
            return own
        part = self.part_of(len(own) * self.count)
        found: Tensor = GatherParts.apply(own.contiguous(), part, self.count)
        return found

    def mean(self, numbers: Tensor) -> Tensor:
        """The mean over the processes, without a gradient."""
        if self.count == 1:
            return numbers
        found: Tensor = self.fabric.all_reduce(numbers.detach(), reduce_op="mean")
        return found

    def any(self, said: bool) -> bool:
        """Whether one of the processes says so; all must ask."""
        if self.count == 1:
            return said
        word = torch.tensor([float(said)])
        distributed.all_reduce(word, distributed.ReduceOp.MAX, group=self.words)
        return bool(word)

    def share_batchnorm(self, module: nn.Module) -> None:
        """BatchNorm of the whole batch, in place; weights, names and numbers stay."""
        if self.count == 1:
            return
        for parent in list(module.modules()):
            for name, child in list(parent.named_children()):
                if type(child) is not nn.BatchNorm2d:
                    continue
                shared = SharedBatchNorm(child.num_features, child.eps, child.momentum)
                shared.gather = self.gather
                shared.weight, shared.bias = child.weight, child.bias
                for buffer, value in child.named_buffers():
                    setattr(shared, buffer, value)
                setattr(parent, name, shared)

    def averaging(self, module: nn.Module) -> nn.Module:
        """The module, whose gradients are means over the processes after a backward pass."""
        if self.count == 1:
            return module
        with warnings.catch_warnings():  # PyTorch 2.13 has another name, older ones this alone
            warnings.filterwarnings("ignore", "`broadcast_buffers` is deprecated")
            wrapped: nn.Module = self.fabric.setup_module(module, move_to_device=False)
        return wrapped

    @contextmanager
    def loss_told(self) -> Iterator[None]:
        """Turns what is said where another process is gone into one sentence, a RuntimeError."""
        try:
            yield
        except RuntimeError as error:
            said = str(error).lower()
            gone = isinstance(error, distributed.DistError) or "gloo" in said
            if self.count == 1 or not (gone or "connection" in said):
                raise
            raise RuntimeError(
                f"process {self.rank} of {self.count} stops: another one is gone, see its own "
                "message; run the same command again to go on from the last checkpoint"
            ) from error


ALONE = Processes()


def started() -> Processes:
    """The processes that torchrun started this one among; else ALONE.

    Raises:
        ImportError: Lightning Fabric is not installed.
    """
    # Clusters set WORLD_SIZE too, for jobs of their own.
    several = "TORCHELASTIC_RUN_ID" in os.environ and int(os.environ["WORLD_SIZE"]) > 1
    return _launched() if several else ALONE


@functools.cache
def _launched() -> Processes:
    try:
        from lightning_fabric import Fabric
        from lightning_fabric.strategies import DDPStrategy
    except ImportError as error:
        raise ImportError(
            "several processes need Lightning Fabric: pip install lightning-fabric"
        ) from error
    world, here = (int(os.environ[name]) for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"))
    # The processes hold equal buffers already, also the queue: nothing to send at each step. A
    # static graph may leave out weights, as those of Model 1's embedding.
    strategy = DDPStrategy(broadcast_buffers=False, static_graph=True)
    fabric = Fabric(
        accelerator="cuda" if torch.cuda.is_available() else "cpu",
        devices=here,
        num_nodes=world // here,
        strategy=strategy,
    )
    fabric.launch()
    return Processes(fabric)
