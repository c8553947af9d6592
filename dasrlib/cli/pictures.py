"""dasr upscale and dasr degrade: pictures, folders and patterns in, a file for each out."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from dasrlib.cli.error_messages import report_errors
from dasrlib.cli.reproduce import Dtype

if TYPE_CHECKING:
    from dasrlib.cli.picture_files import Header, Job, Plan
    from dasrlib.data import Picture
    from dasrlib.degradation import Degradations

Pictures = Annotated[
    list[Path],
    typer.Argument(
        metavar="PICTURE|FOLDER",
        help="Picture files, folders of them, or patterns as '*.png'. Of two names the second is "
        "the output if there is no such file yet.",
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        "-o",
        help="A file, or a folder for the new files; by default each stands beside its picture.",
    ),
]
Suffix = Annotated[str | None, typer.Option(help="Put after the picture's name.")]
Kind = Literal["png", "jpg", "webp", "tif", "same"]
Format = Annotated[Kind | None, typer.Option("--format", help="By default that of -o, or png.")]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Make files again that exist; else they are kept.")
]


@report_errors
def upscale(
    pictures: Pictures,
    out: Out = None,
    suffix: Suffix = None,
    kind: Format = None,
    overwrite: Overwrite = False,
    weights: Annotated[
        str | None,
        typer.Option(
            help="A name (see `dasr data weights`) or a file; by default the one that fits the "
            "noise and JPEG of the picture."
        ),
    ] = None,
    tile: Annotated[int | None, typer.Option(help="Side of the tiles: less memory.")] = None,
    device: Annotated[
        str | None, typer.Option(help="cpu, cuda, cuda:1 or mps; by default the GPU if any.")
    ] = None,
    dtype: Dtype = None,
) -> None:
    """Upscale pictures whose degradation is not known (blind super-resolution, §3.2).

    photo.jpg becomes photo-x4.png beside it. What cannot be read or written is said before the
    work, and left out; the exit status is then 1. Files that exist are kept, so the same command
    again does only what is missing. Grey, transparency, 16 bits and EXIF are kept.
    """
    from dasrlib import data, estimates, inference
    from dasrlib import weights as weights_module
    from dasrlib.acceleration.devices import describe_dtype, device_named, dtype_named
    from dasrlib.cli.picture_files import Header, Outputs, plan

    asked, chosen_device = dtype_named(dtype), device_named(device)
    load = cache(lambda name: weights_module.load(name).to(chosen_device))
    first = load(weights or estimates.fitting_weights(estimates.Estimate(0, 100)))
    inference.check_settings(first, tile)

    def resized(header: Header) -> Header:
        inference.check_size(*header)
        return Header(header.height * first.scale, header.width * first.scale)

    def work(job: Job) -> str:
        picture = data.fit_to_format(data.read_picture(job.source), job.target)
        _say(job, picture)
        middle = data.centre_crop(picture.over_white().rgb(), estimates.SIDE)
        found = estimates.read(data.to_float(middle))
        chosen = weights or estimates.fitting_weights(found)
        typer.echo(f"the encoder of {estimates.READER} reads: {found}")
        said = estimates.advice(found, weights) if weights else f"the weights that fit: {chosen}"
        if said:
            typer.echo(said)
        if picture.bits > 8 and asked is None:
            typer.echo(f"computing {picture.bits} bits in float32")
        sr = inference.upscale_picture(picture, load(chosen), tile, progress=True, dtype=asked)
        data.write_picture(sr, job.target)
        return f"{picture.size} -> {sr.size}"

    outputs = Outputs(out, suffix, f"-x{first.scale}", kind, overwrite)
    found = plan(pictures, outputs, resized)
    _run(found, work, describe_dtype(chosen_device, asked))


@report_errors
def degrade(
    pictures: Pictures,
    out: Out = None,
    suffix: Suffix = None,
    kind: Format = None,
    overwrite: Overwrite = False,
    scale: Annotated[int, typer.Option(help="2, 3 or 4.")] = 4,
    sigma: Annotated[
        float | None, typer.Option(help="Isotropic kernel width in HR pixels; by default none.")
    ] = None,
    lambda1: Annotated[float | None, typer.Option(help="Anisotropic: width along axis 1.")] = None,
    lambda2: Annotated[float | None, typer.Option(help="Anisotropic: width along axis 2.")] = None,
    theta: Annotated[
        float | None, typer.Option(help="Anisotropic: angle of axis 1, degrees.")
    ] = None,
    noise: Annotated[float, typer.Option(help="Noise level on the 0..255 scale.")] = 0.0,
    quality: Annotated[float, typer.Option(help="JPEG at the end, 1..100; 0 for none.")] = 0.0,
    seed: Annotated[int, typer.Option(help="Random seed of each picture's noise.")] = 0,
) -> None:
    """Degrade pictures as in §3.1: blur, bicubic downsampling, noise, rounding to 8 bits.

    photo.jpg becomes photo-lr.png beside it. With --quality it is compressed at the end, as
    photographs are; write it as PNG then.
    """
    import math

    import torch

    from dasrlib import data
    from dasrlib.cli.picture_files import Header, Outputs, plan
    from dasrlib.degradation import Degradations
    from dasrlib.resampling import check_blur

    widths = [lambda1, lambda2]
    if sigma is not None and widths != [None, None]:
        raise ValueError("--sigma and --lambda1 name different kernels: leave one of them out")
    if (lambda1 is None) != (lambda2 is None):
        raise ValueError("an anisotropic kernel needs both --lambda1 and --lambda2")
    if theta is not None and lambda1 is None:
        raise ValueError("--theta turns an anisotropic kernel: add --lambda1 and --lambda2")
    if lambda1 is not None and lambda2 is not None:
        angle = math.radians(theta or 0.0)
        kernel = Degradations.anisotropic(lambda1, lambda2, angle, scale, noise)
    else:
        kernel = Degradations.isotropic(sigma or 0.0, scale, noise)
    chosen = kernel.with_jpeg(quality)

    def resized(header: Header) -> Header:
        height, width = header.height // scale, header.width // scale
        hr = torch.empty(1, 3, height * scale, width * scale, device="meta")  # no memory
        check_blur(hr, chosen.kernels)
        return Header(height, width)

    def work(job: Job) -> str:
        picture = data.fit_to_format(data.read_picture(job.source), job.target)
        _say(job, picture)
        if picture.bits > 8:
            typer.echo(f"{job.source}: its {picture.bits} bits become 8, to which §3.1 rounds")
        lr = _degraded(picture, chosen, seed)
        data.write_picture(lr, job.target)
        return f"{picture.size} -> {lr.size}"

    found = plan(pictures, Outputs(out, suffix, "-lr", kind, overwrite), resized)
    _run(found, work)


def _degraded(picture: Picture, chosen: Degradations, seed: int) -> Picture:
    """I_LR of all that a file holds; grey gets the same noise in all channels."""
    from dataclasses import replace

    import torch

    from dasrlib import data
    from dasrlib.degradation import degrade as apply

    s = chosen.scale
    hr = data.to_float(data.crop_to_multiple(picture.with_hidden_filled().pixels, s))
    channels, h, w = hr.shape
    drawn = None
    generator = torch.Generator().manual_seed(seed)
    if picture.is_grey and chosen.has_noise:
        drawn = torch.randn(1, 1, h // s, w // s, generator=generator).expand(-1, 3, -1, -1)
    lr = apply(hr.expand(3, -1, -1)[None], chosen, generator, "fast", noise=drawn)[0]
    alpha = None
    if picture.alpha is not None:
        cropped = replace(picture, alpha=data.crop_to_multiple(picture.alpha, s))
        alpha = cropped.alpha_of_size(h // s, w // s)
    return replace(picture, pixels=data.to_uint8(lr[:channels]), alpha=alpha, bits=8)


def _say(job: Job, picture: Picture) -> None:
    for remark in picture.remarks:
        typer.echo(f"{job.source}: {remark}")


def _run(found: Plan, work: Callable[[Job], str], first_line: str | None = None) -> None:
    """Do the work of a plan, picture by picture; one that fails is said, and the rest is done."""
    from dasrlib.cli.picture_files import with_name

    if found.pictures == 1 and found.refused:
        raise found.refused[0]
    for remark in found.remarks:
        typer.echo(remark)
    for error in found.refused:
        typer.echo(f"dasr: {error}", err=True)
    if found.jobs and first_line:
        typer.echo(first_line)
    failed = len(found.refused)
    for number, job in enumerate(found.jobs, 1):
        if len(found.jobs) > 1:
            typer.echo(f"{job.source} ({number} of {len(found.jobs)})")
        try:
            job.target.parent.mkdir(parents=True, exist_ok=True)
            sizes = work(job)
        except (ValueError, OSError, RuntimeError) as error:
            failed += 1
            typer.echo(f"dasr: {with_name(job, error)}", err=True)
        else:
            typer.echo(f"{job.target}  {sizes}")
    if failed and found.pictures > 1:
        typer.echo(f"dasr: {failed} of {found.pictures} pictures were not done", err=True)
    if failed:
        raise typer.Exit(1)
