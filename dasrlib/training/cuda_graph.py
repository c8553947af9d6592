"""§4.1 An iteration of training captured as a CUDA graph, which a GPU replays."""

from __future__ import annotations

from collections.abc import Callable

import torch

from dasrlib.training.step import Batch, Losses, Step

WARMUP_ITERATIONS = 3  # before the capture: first uses allocate, compile and choose


class CudaGraphStep(Step):
    """A step that is captured once as a CUDA graph and then replayed: thousands of launches in one.

    The first WARMUP_ITERATIONS are ordinary ones. A graph reads and writes fixed places in memory:
    each batch is copied to static_inputs, and the losses must be read before the next call.
    Capturing computes nothing, so no iteration is lost or done twice.
    """

    static_inputs: Batch | None = None
    warmup_done = 0
    graph: tuple[Callable[[], object], Losses] | None = None  # replay, and where the losses are

    def __call__(self, batch: Batch) -> Losses:
        """One update of the weights; returns the losses before it."""
        if self.static_inputs is None:
            self.static_inputs = batch.map(torch.clone)
        for static, part in zip(self.static_inputs.tensors, batch.tensors, strict=True):
            static.copy_(part)
        if self.warmup_done < WARMUP_ITERATIONS:
            self.warmup_done += 1
            return self._warm_up(self.static_inputs)
        if self.graph is None:
            self.graph = self._capture(self.static_inputs)
        replay, losses = self.graph
        replay()
        return losses

    def _warm_up(self, batch: Batch) -> Losses:
        # Not on the default stream, which cannot be captured: what autograd allocates on first use
        # belongs to the stream it runs on.
        here, beside = torch.cuda.current_stream(), torch.cuda.Stream()
        beside.wait_stream(here)
        with torch.cuda.stream(beside):
            losses = super().__call__(batch)
        here.wait_stream(beside)
        return losses

    def _capture(self, batch: Batch) -> tuple[Callable[[], object], Losses]:
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph):
                losses = super().__call__(batch)
        except RuntimeError as error:
            raise RuntimeError(
                "the training step cannot be captured as a CUDA graph here: train with graph=False "
                f"(--no-graph) ({str(error).splitlines()[0]})"
            ) from error
        return graph.replay, losses
