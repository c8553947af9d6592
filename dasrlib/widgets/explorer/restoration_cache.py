"""§4.2 What the ablation explorer restored and measured so far: by picture, method and σ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from dasrlib import data, evaluation, weights
from dasrlib.data import centre_crop, crop_to_multiple
from dasrlib.degradation import Degradations, quantise
from dasrlib.network import BlindSR

BICUBIC = "bicubic"

Key = tuple[str, str, float]  # picture, method, σ


def bundled() -> dict[str, str]:
    """The bundled models of the laptop profile, "model1" … "model5": the names of their weights."""
    names = [name for name in weights.catalogue() if name.startswith("laptop/")]
    return {name.removeprefix("laptop/").split("-")[0]: name for name in names}


class RestorationCache:
    """Pictures, the methods that restore them, and what was restored and measured so far (§4.2).

    models: by name, networks of one scale. images: (name, (3, H, W) in [0, 1]) pairs.
    Raises ValueError for no model, no picture, or models of different scales.
    """

    def __init__(
        self,
        images: Sequence[tuple[str, Tensor]],
        models: Mapping[str, BlindSR | str],
        size: int,
    ) -> None:
        self.models = {
            name: (m if isinstance(m, BlindSR) else weights.load(m)).eval()
            for name, m in models.items()
        }
        scales = {model.scale for model in self.models.values()}
        if not images or len(scales) != 1:
            raise ValueError(
                "expected at least one picture, and models of one scale; "
                f"got {len(images)} pictures and the scales {sorted(scales)}"
            )
        (self.scale,) = scales
        self.bicubic = evaluation.Bicubic(self.scale)
        self.pictures = {
            name: crop_to_multiple(centre_crop(image, size), self.scale) for name, image in images
        }
        self.psnr: dict[Key, float] = {}  # dB, of the whole picture
        self.images: dict[Key, Tensor] = {}  # uint8, of the current picture alone

    def restore(self, key: Key) -> tuple[Tensor, float]:
        """A picture, degraded with σ and restored: (3, H, W), 8-bit, and its PSNR-Y in dB.

        It changes nothing here, so that it can run in another thread.
        """
        picture, method, sigma = key
        system = self.bicubic if method == BICUBIC else self.models[method]
        degradation = Degradations.isotropic(sigma, self.scale)
        hr, sr = evaluation.degrade_and_restore(system, self.pictures[picture], degradation)
        return data.to_uint8(quantise(sr)), evaluation.psnr_y(sr, hr, self.scale)

    def keep(self, key: Key, result: tuple[Tensor, float]) -> None:
        """Keeps what restore gave; restored pictures of another picture than this are dropped."""
        self.images = {k: image for k, image in self.images.items() if k[0] == key[0]}
        self.images[key], self.psnr[key] = result

    def curve(self, picture: str, method: str) -> list[tuple[float, float]]:
        """(σ, PSNR-Y in dB) of all that was measured, in the order of σ."""
        return sorted((k[2], v) for k, v in [*self.psnr.items()] if k[:2] == (picture, method))

    def nearest(self, key: Key) -> Key | None:
        """The restored picture with the nearest σ, to show until the right one is there."""
        there = [k for k in self.images if k[:2] == key[:2]]
        return min(there, key=lambda k: abs(k[2] - key[2]), default=None)
