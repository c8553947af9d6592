"""One picture in, one picture out, any size."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from tqdm.auto import tqdm

from dasrlib import data
from dasrlib import weights as weights_module
from dasrlib.degradation import quantise
from dasrlib.devices import fastest_dtype, fastest_layout
from dasrlib.network import BlindSR

DEFAULT = "laptop/model4-x4-iso"
# LR pixels that a tile sees beyond its own part. Not all that the network could see, which is a
# pixel for every 3×3 convolution on the way (30 for the laptop profile's, 109 for the paper's): in
# the bundled network what lies further than 16 away moves a pixel by 0.002 of a grey level at most
# (4 pictures of Set14, in tiles of 48; 0.05 with 12, 1.2 with 8).
OVERLAP = 16


def _tiles(length: int, tile: int) -> list[tuple[int, int, int, int]]:
    """Along one side: (start, end) of what a tile sees, (start, end) of the part that is its
    own."""
    spans = []
    for start in range(0, length, tile):
        end = min(start + tile, length)
        spans.append((max(0, start - OVERLAP), min(length, end + OVERLAP), start, end))
    return spans


@torch.inference_mode()
def upscale(
    image: str | Path | Tensor,
    weights: str | Path | BlindSR = DEFAULT,
    tile: int | None = None,
    progress: bool = False,
) -> Tensor:
    """A picture enlarged by a blind network, the degradation found out from the picture itself
    (§3.2).

    image: a file, or (3, H, W) in [0, 1]. weights: a bundled name, a .safetensors file, or a
    network. tile: side of the tiles in LR pixels, for pictures too large for memory; the
    representation is then the mean of the tiles', so that all of them are told the same.
    Computed in bfloat16 where that is faster: a quarter of a grey level from float32, 0.002 dB.
    Returns (3, sH, sW) in [0, 1], rounded to 8 bit. Raises ValueError for a tensor of another
    shape or range, a tile under 32, or Model 5, which is not blind.
    """
    model = weights if isinstance(weights, BlindSR) else weights_module.load(weights)
    model.eval()
    if not model.blind:
        raise ValueError(
            "model5 must be told the degradation and cannot enlarge a picture it knows nothing of"
        )
    lr = image if isinstance(image, Tensor) else data.load_image(image)
    if lr.ndim != 3 or lr.shape[0] != 3:
        raise ValueError(f"expected a picture (3, H, W), got {tuple(lr.shape)}")
    h, w = lr.shape[-2:]
    if min(h, w) < 3:
        raise ValueError(f"a picture of {h}×{w} is too small: each side must be at least 3 pixels")
    if not lr.is_floating_point() or not bool(((lr >= 0) & (lr <= 1)).all()):
        raise ValueError("expected a float picture in [0, 1]: divide bytes by 255")
    if tile is not None and tile < 32:
        raise ValueError(f"tile must be at least 32 LR pixels, got {tile}")
    device = next(model.parameters()).device
    dtype = fastest_dtype(device)
    lr = lr[None].to(device, torch.float32, memory_format=fastest_layout(device))
    with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
        if tile is None or max(h, w) <= tile:
            sr = model(lr)[0]
        else:
            sr = _in_tiles(model, lr, tile, progress)
    return quantise(sr).cpu()


def _in_tiles(model: BlindSR, lr: Tensor, tile: int, progress: bool) -> Tensor:
    """LR (1, 3, H, W) enlarged in tiles, (3, sH, sW), on the CPU."""
    device = lr.device
    boxes = [(y, x) for y in _tiles(lr.shape[-2], tile) for x in _tiles(lr.shape[-1], tile)]
    seen = [lr[..., y0:y1, x0:x1] for (y0, y1, _, _), (x0, x1, _, _) in boxes]
    areas = torch.tensor([float(part.shape[-2] * part.shape[-1]) for part in seen], device=device)
    vectors = torch.cat([model.represent(part) for part in tqdm(seen, disable=not progress)])
    representation = (areas[:, None] * vectors).sum(0, keepdim=True) / areas.sum()

    s = model.scale
    out = torch.empty(3, s * lr.shape[-2], s * lr.shape[-1])
    for part, (y, x) in zip(tqdm(seen, disable=not progress), boxes, strict=True):
        (y0, _, top, bottom), (x0, _, left, right) = y, x
        sr = model(part, representation=representation)[0].cpu()
        own = sr[:, s * (top - y0) : s * (bottom - y0), s * (left - x0) : s * (right - x0)]
        out[:, s * top : s * bottom, s * left : s * right] = own
    return out
