"""§4.1 The pictures of a run: which of them can be used, and a digest to know them again."""

from __future__ import annotations

import hashlib
import warnings
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from dasrlib import data, errors, paper
from dasrlib.data import Pictures, centre_crop, crop_to_multiple, to_uint8
from dasrlib.inference import check_picture
from dasrlib.profiles import Profile

VALIDATION_CROP = 192  # HR pixels; a multiple of every scale
READOUT_PICTURES = 60  # training pictures on which the readout is fitted
NAMED = 5  # pictures in a sentence; of more the number is said


def names_of(names: Sequence[str]) -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def check_pictures(pictures: Pictures) -> None:
    """Raises ValueError, with the name, for what is no picture (3, H, W) in [0, 1]."""
    for name, picture in pictures:
        try:
            check_picture(picture)
        except ValueError as error:
            raise ValueError(f"the picture {name}: {error}") from error


def large_enough(pictures: Pictures, side: int, purpose: str, way_out: str) -> Pictures:
    """The pictures with no side below `side` pixels; a warning counts the others.

    purpose: what they are too small for. way_out: what to do where all are.

    Raises:
        ValueError: there are pictures, and all are too small.
    """
    small = [
        f"{name} of {picture.shape[-2]}×{picture.shape[-1]}"
        for name, picture in pictures
        if min(picture.shape[-2:]) < side
    ]
    if not small:
        return pictures
    said = f"smaller than {side}×{side} pixels, {purpose}"
    if len(small) == len(pictures):
        raise ValueError(f"all {len(small)} pictures are {said} ({names_of(small)}): {way_out}")
    warnings.warn(
        f"{len(small)} of {len(pictures)} pictures are skipped: they are {said} "
        f"({names_of(small)})",
        stacklevel=3,
    )
    return [(n, picture) for n, picture in pictures if min(picture.shape[-2:]) >= side]


def describe_pictures(pictures: Pictures) -> dict[str, Any]:
    """How many pictures, and a digest of their sizes and pixels (§4.1)."""
    digest = hashlib.sha256()
    for _, picture in pictures:
        digest.update(str(tuple(picture.shape)).encode())
        digest.update(to_uint8(picture).contiguous().numpy().data)
    return {"count": len(pictures), "sha256": digest.hexdigest()}


def checksums(pictures: Pictures) -> dict[str, int]:
    """A short checksum of each picture by its name, to say which of them differ."""
    return {name: zlib.crc32(to_uint8(p).contiguous().numpy().data) for name, p in pictures}


def require_same_pictures(
    folder: Path, stored: Mapping[str, Any], asked: Mapping[str, Any]
) -> None:
    """Raises ValueError where a run was begun on other pictures, and names those that differ.

    stored: what its checkpoint holds, "pictures" of describe_pictures and "checksums". Older ones
    do not have them: what is not there is not compared. asked: the same of the pictures now.
    """
    old = stored.get("pictures", asked["pictures"])
    if old == asked["pictures"]:
        return
    before, now = stored.get("checksums", {}), asked["checksums"]
    found = {
        "missing": [name for name in before if name not in now],
        "new": [name for name in now if before and name not in before],
        "changed": [name for name in now if before.get(name, now[name]) != now[name]],
    }
    said = "; ".join(f"{what}: {names_of(names)}" for what, names in found.items() if names)
    raise ValueError(
        f"{folder} holds a run on {old['count']} other pictures than these "
        f"{asked['pictures']['count']} "
        f"({said or 'in another order'}): train on the same ones, or choose another folder"
    )


def to_float(image: Tensor) -> Tensor:
    """A picture in [0, 1]; training pictures are held as bytes."""
    return image / 255 if image.dtype == torch.uint8 else image


class RunPictures(NamedTuple):
    """The pictures of a run, chosen and cut."""

    train: Pictures
    held_out: list[tuple[str, Tensor]]  # centre crops, which the run is validated on
    readout: list[tuple[str, Tensor]]  # centre crops of some training pictures, in [0, 1]
    description: dict[str, Any]  # of describe_pictures
    checksums: dict[str, int]

    @classmethod
    def chosen(
        cls, images: tuple[Pictures, Pictures] | None, profile: Profile, scale: int
    ) -> RunPictures:
        """The (training, held-out) pictures given, or the profile's; too small ones are skipped.

        Raises:
            ValueError: one is no picture, all are too small, or the patch is.
        """
        smallest = paper.KERNEL_SIZE // 2 // scale + 1  # half of a kernel reaches over each border
        errors.check_number("patch", profile.patch, at_least=max(3, smallest))
        if images:
            check_pictures([*images[0], *images[1]])
        train, held_out = images or data.training_images(profile.data, profile.held_out)
        side, way_out = profile.patch * scale, "train with smaller patches (--patch)"
        train = large_enough(train, side, "a patch", way_out)
        side = 2 * scale + 11  # what SSIM's window needs after shaving
        held_out = large_enough(held_out, side, "which SSIM needs", "hold out larger ones")

        def cut(image: Tensor) -> Tensor:
            return centre_crop(crop_to_multiple(image, scale), VALIDATION_CROP)

        return cls(
            train,
            [(name, cut(image)) for name, image in held_out],
            [(name, to_float(cut(image))) for name, image in train[:READOUT_PICTURES]],
            describe_pictures(train),
            checksums(train),
        )
