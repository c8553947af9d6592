"""§4.1 An iteration of training recorded as a CUDA graph, which a GPU plays back."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from dasrlib.training.step import Batch, Step

WARM_UP = 3  # iterations before the recording: first uses allocate, compile and choose


class Recorded(Step):
    """A step that is recorded once as a CUDA graph and then played: thousands of launches in one.

    The first WARM_UP iterations are ordinary ones. A recording reads and writes fixed places in
    memory: each batch is copied to where the first one lay, and the losses are to be read before
    the next call. Recording computes nothing, so no iteration is lost or done twice.
    """

    places: Batch | None = None
    warm = 0
    recording: tuple[Callable[[], object], tuple[Tensor, Tensor]] | None = None

    def __call__(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """One update of the weights; returns the losses before it."""
        if self.places is None:
            self.places = Batch(*(part.clone() for part in batch))
        else:
            for place, part in zip(self.places, batch, strict=True):
                place.copy_(part)
        if self.warm < WARM_UP:
            self.warm += 1
            return self._warm_up(self.places)
        if self.recording is None:
            self.recording = self._record(self.places)
        play, losses = self.recording
        play()
        return losses

    def _warm_up(self, batch: Batch) -> tuple[Tensor, Tensor]:
        # Not on the default stream, which cannot be recorded: what autograd allocates on first use
        # belongs to the stream it runs on.
        here, beside = torch.cuda.current_stream(), torch.cuda.Stream()
        beside.wait_stream(here)
        with torch.cuda.stream(beside):
            losses = super().__call__(batch)
        here.wait_stream(beside)
        return losses

    def _record(self, batch: Batch) -> tuple[Callable[[], object], tuple[Tensor, Tensor]]:
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph):
                losses = super().__call__(batch)
        except RuntimeError as error:
            raise RuntimeError(
                "the training step cannot be recorded as a CUDA graph here: train with graph=False "
                f"(--no-graph) ({str(error).splitlines()[0]})"
            ) from error
        return graph.replay, losses
