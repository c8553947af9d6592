"""§3.2.1, §4.4 The assumption and where it breaks: one picture with two degradations.

The method takes for granted that a picture was degraded alike everywhere: two of its patches are a
positive pair, and one representation serves the whole picture.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.model_selection import GridSearchCV
from torch import Tensor

from dasrlib import data, probes, weights
from dasrlib.data import Pictures, crop_to_multiple
from dasrlib.degradation import Degradations, DegradationSpace, degrade
from dasrlib.estimates import READER
from dasrlib.evaluation import psnr_y
from dasrlib.network import BlindSR
from dasrlib.plots.packed_images import packed
from dasrlib.representation import Encoder, l2_normalise
from dasrlib.studies.real_pictures import clear_pictures
from dasrlib.systems import DEFAULT_WEIGHTS

SIDE = 32  # LR pixels of a patch
STRIDE = 8  # LR pixels between patches of a map
SHARP, WIDE = 0.4, 3.2  # HR pixels: the left and the right width
DRAWS = 12  # degradations of each picture that a probe is fitted on
MARGIN = 8  # LR pixels beside the seam that no PSNR counts
TEST_SET = "Set14"
COMPOSED, PHOTOGRAPH = "motorcycle_left", "flower"  # samples; the flower's background is unsharp


def two_halves(hr: Tensor, two: Degradations, seam: int = 0) -> Tensor:
    """An LR picture with one degradation on its left half and another on its right half.

    I_LR = m · I_left + (1 − m) · I_right, with a mask m that falls from 1 to 0 over the seam.

    Args:
        hr: (3, H, W) in [0, 1], sides divisible by the scale.
        two: the left and the right degradation.
        seam: LR pixels over which one goes over into the other; 0 for a sharp edge.

    Returns:
        (3, H/s, W/s).
    """
    left, right = degrade(hr[None].expand(2, -1, -1, -1), two, backend="fast")
    w = left.shape[-1]
    beyond = torch.arange(w) + 0.5 - w // 2  # LR pixels to the right of the middle
    m = (0.5 - beyond / max(seam, 1e-6)).clamp(0, 1)
    # I_LR = m · I_left + (1 − m) · I_right
    return m * left + (1 - m) * right


def patch_grid(lr: Tensor, stride: int = STRIDE) -> tuple[Tensor, tuple[int, int]]:
    """All patches of a picture (3, H, W), (N, 3, 32, 32), and how many rows and columns."""
    patches = lr.unfold(1, SIDE, stride).unfold(2, SIDE, stride)  # (3, rows, columns, 32, 32)
    rows, columns = patches.shape[1:3]
    return patches.permute(1, 2, 0, 3, 4).flatten(0, 1), (rows, columns)


@torch.inference_mode()
def _seen(model: BlindSR, patches: Tensor, layer: int = 0) -> Tensor:
    """Representations (layer 0) or embeddings (layer 1) of patches, (N, 256)."""
    assert isinstance(model.encoder, Encoder)
    device = next(model.parameters()).device
    parts = [model.encoder(part.to(device))[layer].float().cpu() for part in patches.split(64)]
    return torch.cat(parts)


def fit_width_probe(
    model: BlindSR, pictures: Pictures, space: DegradationSpace, seed: int = 0
) -> tuple[GridSearchCV, float]:
    """A ridge probe that reads σ off a patch, and its R² on pictures it was not fitted on (§4.2).

    Each picture is degraded alike everywhere, with isotropic kernels of the space.
    """
    space, generator = replace(space, is_isotropic=True), torch.Generator().manual_seed(seed)
    vectors, widths, names = [], [], []
    for name, picture in pictures:
        hr = crop_to_multiple(picture, space.scale)[None]
        for degradation in map(space.sample(DRAWS, generator).__getitem__, range(DRAWS)):
            patches, _ = patch_grid(degrade(hr, degradation, generator, "fast")[0], SIDE)
            vectors.append(_seen(model, patches))
            widths += [float(degradation.lambda1)] * len(patches)
            names += [name] * len(patches)
    seen = torch.cat(vectors)
    return probes.fit_ridge(seen, widths, names), probes.ridge_r2(seen, widths, names)


def width_map(model: BlindSR, probe: GridSearchCV, lr: Tensor, stride: int = STRIDE) -> np.ndarray:
    """The kernel width that a probe reads off each patch of (3, H, W), (rows, columns), HR px."""
    patches, shape = patch_grid(lr, stride)
    return np.asarray(probe.predict(_seen(model, patches).numpy())).reshape(shape)


def pair_cosines(model: BlindSR, pictures: Pictures, two: Degradations) -> dict[str, list[float]]:
    """Cosines of the embeddings of two patches, by what the two have in common (§3.2.1).

    The first two kinds are positive pairs to the contrastive loss, and the last kind is a negative
    pair. Patches are from corners, as far apart as they can be.
    """
    found: dict[str, list[float]] = {
        "same picture, same width": [], "same picture, two widths": [],
        "two pictures, same width": [],
    }  # fmt: skip
    before = None
    for _, picture in pictures:
        hr = crop_to_multiple(picture, model.scale)
        one = degrade(hr[None], two[0], backend="fast")[0]
        both = two_halves(hr, two)
        corners = [one[:, :SIDE, :SIDE], one[:, :SIDE, -SIDE:], both[:, :SIDE, -SIDE:]]
        here, alike, other = l2_normalise(_seen(model, torch.stack(corners), layer=1))
        partners = dict(zip(found, (alike, other, before), strict=True))
        for kind, partner in partners.items():
            if partner is not None:
                found[kind].append(round(float(here @ partner), 4))
        before = here
    return found


@torch.inference_mode()
def half_psnr(model: BlindSR, picture: Tensor, two: Degradations) -> dict[str, dict[str, float]]:
    """PSNR-Y of each half of a picture with two degradations, by whose representation is used.

    Returns, for "left" and "right", dB with the representation of the "whole" picture, of its "own"
    half and of the "other" half.
    """
    hr = crop_to_multiple(picture, model.scale)
    lr = two_halves(hr, two)[None]
    middle = lr.shape[-1] // 2
    sources = {"whole": lr, "left": lr[..., :middle], "right": lr[..., middle:]}
    sr = {
        name: model(lr, representation=model.represent(part))[0] for name, part in sources.items()
    }
    left = slice(0, model.scale * (middle - MARGIN))  # HR columns
    right = slice(model.scale * (middle + MARGIN), None)
    psnr: dict[str, dict[str, float]] = {}
    for half, other, own in (("left", "right", left), ("right", "left", right)):
        for label, source in (("whole", "whole"), ("own", half), ("other", other)):
            value = psnr_y(sr[source][..., own], hr[..., own], model.scale)
            psnr.setdefault(half, {})[label] = round(value, 4)
    return psnr


def _mapped(name: str, space: DegradationSpace, title: str, lr: Tensor) -> dict[str, Any]:
    """A picture and the map of its widths, by an encoder and a probe of a space of its own."""
    model = weights.load(name)
    probe, r2 = fit_width_probe(model, clear_pictures()[1], space)
    shown = F.avg_pool2d(lr, 1 + max(lr.shape[1:]) // 256)  # small enough for a json
    return {
        "picture": title, "shown": packed(shown, 90), "network": name,
        "r2": round(r2, 3), "widths": width_map(model, probe, lr).round(2).tolist(),
    }  # fmt: skip


def reproduce() -> tuple[dict[str, Any], list[str]]:
    """Maps, cosines and PSNR where the assumption does not hold, and the data sets (§4.4)."""
    test, samples = data.images(TEST_SET), dict(data.images("samples"))
    model, (source, clear) = weights.load(DEFAULT_WEIGHTS), clear_pictures()
    two = Degradations.isotropic([SHARP, WIDE], model.scale)
    composed = two_halves(crop_to_multiple(samples[COMPOSED], model.scale), two)
    isotropic, photo = DegradationSpace.isotropic(4), DegradationSpace.photo(4)
    return {
        "widths": [SHARP, WIDE],
        "maps": [
            _mapped(DEFAULT_WEIGHTS, isotropic, COMPOSED, composed),
            _mapped(READER, photo, PHOTOGRAPH, samples[PHOTOGRAPH]),
        ],
        "cosines": pair_cosines(model, clear, two),
        "dataset": TEST_SET,
        "halves": {name: half_psnr(model, picture, two) for name, picture in test},
    }, [TEST_SET, source, "samples"]
