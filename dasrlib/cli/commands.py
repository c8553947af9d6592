"""The console: dasr upscale, degrade, train, evaluate, reproduce, data, bench, notebooks."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from dasrlib.cli.error_messages import example, one_sentence
from dasrlib.cli.reproduce import app as reproduce_app

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    help="Blind super-resolution by learned degradation representations (DASR, CVPR 2021).",
)
data_app = typer.Typer(no_args_is_help=True, help="Datasets: what is here, and verified downloads.")
app.add_typer(data_app, name="data")
app.add_typer(reproduce_app, name="reproduce")

WEIGHTS = "laptop/model4-x4-iso"

Scale = Annotated[int, typer.Option(help="2, 3 or 4.")]
Weights = Annotated[
    str, typer.Option(help="A bundled name (see `dasr data weights`) or a .safetensors file.")
]

Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace the output if it exists; never an input.")
]


@app.command(epilog=example("dasr upscale photo.jpg photo-x4.png"))
@one_sentence
def upscale(
    picture: Annotated[Path, typer.Argument(help="The picture to enlarge.")],
    out: Annotated[
        Path | None, typer.Argument(help="Where to; by default PICTURE-x4.png beside it.")
    ] = None,
    weights: Weights = WEIGHTS,
    tile: Annotated[
        int | None,
        typer.Option(
            help="Side of the tiles in pixels; by default 256 for pictures larger than 600×600, "
            "which bounds the memory, and smaller ones are computed at once."
        ),
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Enlarge a picture, blind: its degradation is found out from the picture itself."""
    from dasrlib import data, inference
    from dasrlib import weights as weights_module
    from dasrlib.records.atomic_write import check_writable

    model = weights_module.load(weights)
    lr = data.load_image(picture)
    target = out or picture.with_name(f"{picture.stem}-x{model.scale}.png")
    try:
        target = check_writable(target, overwrite, [picture])
    except FileExistsError as error:
        if out is None:
            raise
        raise FileExistsError(
            f"{error}; the second name is the output, so to enlarge several pictures run dasr "
            "upscale once for each"
        ) from None
    data.check_format(target, model.scale * lr.shape[1], model.scale * lr.shape[2])
    sr = inference.upscale(lr, model, tile=tile, progress=True)
    data.save_image(sr, target)
    typer.echo(f"{target}  {lr.shape[2]}×{lr.shape[1]} -> {sr.shape[2]}×{sr.shape[1]}")


@app.command(epilog=example("dasr degrade photo.png small.png --sigma 2.4 --noise 5"))
@one_sentence
def degrade(
    picture: Annotated[
        Path, typer.Argument(help="The HR picture; cropped to multiples of the scale.")
    ],
    out: Annotated[Path, typer.Argument(help="Where the LR picture goes.")],
    scale: Scale = 4,
    sigma: Annotated[
        float, typer.Option(help="Isotropic kernel width in HR pixels; 0 for no blur.")
    ] = 0.0,
    lambda1: Annotated[
        float | None, typer.Option(help="Anisotropic: width along the first axis.")
    ] = None,
    lambda2: Annotated[
        float | None, typer.Option(help="Anisotropic: width along the second axis.")
    ] = None,
    theta: Annotated[
        float, typer.Option(help="Anisotropic: angle of the first axis, degrees.")
    ] = 0.0,
    noise: Annotated[float, typer.Option(help="Noise level on the 0..255 scale.")] = 0.0,
    seed: Annotated[int, typer.Option(help="Of the noise.")] = 0,
    overwrite: Overwrite = False,
) -> None:
    """Degrade a picture as §3.1 does: blur, bicubic reduction, noise, 8-bit rounding."""
    import math

    import torch

    from dasrlib import data
    from dasrlib.degradation import Degradations
    from dasrlib.degradation import degrade as apply
    from dasrlib.records.atomic_write import check_writable

    if (lambda1 is None) != (lambda2 is None):
        raise ValueError("an anisotropic kernel needs both --lambda1 and --lambda2")
    if lambda1 is not None and lambda2 is not None:
        chosen = Degradations.anisotropic(lambda1, lambda2, math.radians(theta), scale, noise)
    else:
        chosen = Degradations.isotropic(sigma, scale, noise)
    out = check_writable(out, overwrite, [picture])
    hr = data.crop_to_multiple(data.load_image(picture), scale)
    data.check_format(out, hr.shape[1] // scale, hr.shape[2] // scale)
    lr = apply(hr[None], chosen, torch.Generator().manual_seed(seed))[0]
    data.save_image(lr, out)
    typer.echo(f"{out}  {hr.shape[2]}×{hr.shape[1]} -> {lr.shape[2]}×{lr.shape[1]}")


@app.command(epilog=example("dasr train --model model4 --profile laptop --out runs/model4"))
@one_sentence
def train(
    out: Annotated[
        Path, typer.Option(help="The run's folder; an unfinished run there is resumed.")
    ],
    model: Annotated[str, typer.Option(help="model1 … model5 (§4.2).")] = "model4",
    profile: Annotated[str, typer.Option(help="smoke, laptop, gpu or paper.")] = "laptop",
    scale: Scale = 4,
    anisotropic: Annotated[
        bool, typer.Option(help="§4.3's anisotropic kernels with noise instead of isotropic ones.")
    ] = False,
    images: Annotated[
        str | None,
        typer.Option(help="A dataset or a folder of your own pictures instead of the profile's."),
    ] = None,
    seed: int = 0,
    minutes: Annotated[
        float | None, typer.Option(help="Stop after so many, to be resumed.")
    ] = None,
    graph: Annotated[
        bool, typer.Option(help="On a GPU, record the iteration as a CUDA graph.")
    ] = True,
) -> None:
    """Train in two stages (§4.1), with checkpoints: run the same line again to resume."""
    from dataclasses import replace

    from dasrlib import data, profiles, training
    from dasrlib.degradation import DegradationSpace

    space = (
        DegradationSpace.anisotropic(scale) if anisotropic else DegradationSpace.isotropic(scale)
    )
    chosen = profiles.get(profile)
    pictures = data.training_images(replace(chosen, data=(images,))) if images else None
    run = training.Run(out, model, chosen, scale, space, seed, pictures, graph=graph)
    if run.iteration:
        typer.echo(f"resumed at iteration {run.iteration} of {run.iterations}")
    if run.train(minutes):
        typer.echo(f"{out / 'weights.safetensors'}  {run.minutes:.1f} minutes")
    else:
        typer.echo(
            f"stopped at iteration {run.iteration} of {run.iterations}: the same line resumes it"
        )


@app.command(epilog=example("dasr evaluate --images Set14 --sigma 0 --sigma 1.2"))
@one_sentence
def evaluate(
    weights: Weights = WEIGHTS,
    images: Annotated[str, typer.Option(help="A dataset, a folder, or samples.")] = "samples",
    sigma: Annotated[
        list[float] | None, typer.Option(help="Kernel widths in HR pixels; by default Table 2's.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Keep every row as json.")] = None,
    overwrite: Overwrite = False,
) -> None:
    """PSNR-Y and SSIM-Y over kernel widths, beside plain bicubic enlargement (§4.2)."""
    from dasrlib import data, evaluation, paper
    from dasrlib import weights as weights_module
    from dasrlib.records.atomic_write import check_writable, atomic_write

    if out:
        out = check_writable(out, overwrite, [weights_module.find(weights), *data.paths(images)])
    model = weights_module.load(weights)
    widths = sigma or paper.kernel_widths(model.scale)
    degradations = evaluation.isotropic_grid(model.scale, widths)
    pictures = data.images(images)
    rows = {
        "bicubic": evaluation.benchmark(evaluation.bicubic(model.scale), pictures, degradations),
        weights: evaluation.benchmark(model, pictures, degradations),
    }
    printed = paper.table2(model.scale)["DASR"].get(images, {})
    typer.echo(f"{images}, {len(pictures)} pictures, ×{model.scale}: PSNR-Y in dB / SSIM-Y")
    typer.echo(f"{'σ':>28s}" + "".join(f"{width:>16g}" for width in widths))
    for name, table in rows.items():
        psnr, ssim = evaluation.mean(table), evaluation.mean(table, "ssim_y")
        cells = (f"{psnr[k]:.2f} / {ssim[k]:.4f}" for k in degradations)
        typer.echo(f"{name:>28s}" + "".join(f"{cell:>16s}" for cell in cells))
    if all(width in printed for width in widths):
        cells = (f"{printed[width]:.2f}" for width in widths)
        typer.echo(f"{'DASR, as printed (Table 2)':>28s}" + "".join(f"{c:>16s}" for c in cells))
    if out:
        kept = [{"model": name, **row} for name, table in rows.items() for row in table]
        with atomic_write(out) as temporary:
            temporary.write_text(json.dumps(kept, indent=1) + "\n")


@data_app.command("list", epilog=example("dasr data list"))
@one_sentence
def data_list() -> None:
    """The datasets, and where each lies on this machine."""
    from dasrlib import data

    for name, folder in data.available().items():
        typer.echo(f"{name:10s} {folder if folder else f'not here: dasr data get {name}'}")


@data_app.command("get", epilog=example("dasr data get Set14 B100"))
@one_sentence
def data_get(
    names: Annotated[
        list[str],
        typer.Argument(
            help="Set5, Set14, B100, Urban100, BSDS400, RealSRSet, DIV2K, Flickr2K.",
            metavar="NAME...",
        ),
    ],
    folder: Annotated[
        Path | None, typer.Option(help="Where to; by default $DASR_DATA, else the user's cache.")
    ] = None,
) -> None:
    """Download datasets: checksums verified, resumed where it broke off."""
    from dasrlib.data import downloads

    for name in names:
        typer.echo(str(downloads.get(name, folder)))


@data_app.command("weights", epilog=example("dasr data weights"))
@one_sentence
def data_weights() -> None:
    """The bundled weights, and how each was trained."""
    from dasrlib import weights as weights_module

    for name, record in weights_module.catalogue().items():
        typer.echo(
            f"{name:28s} {record['minutes']:.0f} minutes on {record['provenance']['device']}"
        )


@app.command(epilog=example("dasr bench --only da_conv"))
@one_sentence
def bench(
    device: Annotated[
        str | None, typer.Option(help="cpu or cuda; by default the GPU where there is one.")
    ] = None,
    only: Annotated[
        str | None,
        typer.Option(
            help="One of grouped_conv, da_conv, blur, training, inference; printed, not kept."
        ),
    ] = None,
    quick: Annotated[
        bool, typer.Option(help="Tiny sizes, to see that it runs; means nothing, is not kept.")
    ] = False,
) -> None:
    """Measure this machine: every way checked, then timed beside the released one."""
    from dasrlib import bench as bench_module

    record = bench_module.run(device, only, quick)
    typer.echo(bench_module.table(record))
    if not quick and only is None:
        kept = bench_module.save(record)
        typer.echo(f"\n{kept} and {kept.with_suffix('.png')}  {record['minutes']:.1f} minutes")


@app.command(epilog=example("dasr notebooks"))
@one_sentence
def notebooks() -> None:
    """Open JupyterLab on the numbered notebooks of this checkout."""
    folder = Path(__file__).resolve().parents[2] / "notebooks"
    if not folder.is_dir():
        raise FileNotFoundError(
            "the notebooks are not part of the installed package: "
            "clone the repository and run it there"
        )
    finished = subprocess.run([sys.executable, "-m", "jupyterlab", str(folder)], check=False)
    raise typer.Exit(finished.returncode)
