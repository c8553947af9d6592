"""The console: dasr upscale, degrade, train, evaluate, reproduce, data, bench, notebooks."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Literal

import typer

from dasrlib import __version__
from dasrlib.cli import pictures
from dasrlib.cli.error_messages import Console, example, report_errors
from dasrlib.cli.reproduce import RESUME, Dtype, Minutes, Profile
from dasrlib.cli.reproduce_comparison import app as reproduce_app
from dasrlib.systems import DEFAULT_WEIGHTS

app = Console(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Blind super-resolution by learned degradation representations (DASR, CVPR 2021).",
)
data_app = typer.Typer(no_args_is_help=True, help="List datasets and weights, download datasets.")
app.add_typer(data_app, name="data")
app.add_typer(reproduce_app, name="reproduce")
app.command(epilog=example("dasr upscale photo.jpg holiday/ -o larger/"))(pictures.upscale)
app.command(epilog=example("dasr degrade photo.png -o small.png --sigma 2.4 --noise 5"))(
    pictures.degrade
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"dasrlib {__version__}")
        raise typer.Exit()


@app.callback()
def console(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


Scale = Annotated[int, typer.Option(help="2, 3 or 4.")]
Weights = Annotated[str, typer.Option(help="A name (see `dasr data weights`) or a file.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the output if it exists.")]


@app.command(epilog=example("dasr train --model model4 --profile laptop --out runs/model4"))
@report_errors
def train(
    out: Annotated[Path, typer.Option(help="The run's folder.")],
    model: Annotated[
        str, typer.Option(help="model1 … model5, or a system to compare with, such as rcan (§4.2).")
    ] = "model4",
    profile: Profile = "laptop",
    scale: Scale = 4,
    space: Annotated[
        Literal["isotropic", "anisotropic", "photo"],
        typer.Option(help="Degradations of §4.2, of §4.3 with noise, or these with JPEG."),
    ] = "isotropic",
    images: Annotated[
        str | None, typer.Option(help="A dataset or a folder; by default the profile's datasets.")
    ] = None,
    noise_free: Annotated[
        float | None, typer.Option(help="Share of pictures without noise, 0 to 1.")
    ] = None,
    patch: Annotated[
        int | None, typer.Option(help="Side of the patches, LR pixels; by default the profile's.")
    ] = None,
    iterations: Annotated[
        int | None, typer.Option(help="Of both stages; by default the profile's.")
    ] = None,
    sftmd: Annotated[
        str | None, typer.Option(help="For ikc: the weights of a trained sftmd.")
    ] = None,
    predictor: Annotated[
        str | None, typer.Option(help="For ikc: those of a trained predictor, to start from.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Random seed of the training.")] = 0,
    minutes: Minutes = None,
    dtype: Dtype = None,
    graph: Annotated[bool, typer.Option(help="On a GPU, train as a CUDA graph.")] = True,
) -> None:
    """Train in two stages, with checkpoints (§4.1). Run the same command again to resume.

    The systems that DASR is compared with have one stage, and a schedule of their own.
    """
    from dasrlib import profiles, training
    from dasrlib.acceleration.devices import describe_dtype, dtype_named
    from dasrlib.degradation import DegradationSpace

    degradations = getattr(DegradationSpace, space)(scale)
    if noise_free is not None:
        degradations = replace(degradations, without=noise_free)
    asked = dtype_named(dtype)
    chosen = training.profile_for(model, profile)
    if iterations is not None:
        chosen = profiles.with_iterations(chosen, iterations)
    if patch is not None:
        chosen = replace(chosen, patch=patch)
    if images:
        chosen = replace(chosen, data=(images,))
    run = training.Run(
        out,
        model,
        chosen,
        scale,
        degradations,
        seed,
        dtype=asked,
        graph=graph,
        sftmd=sftmd,
        predictor=predictor,
    )
    if run.processes.rank:  # the first of several processes does the talking
        run.train(minutes)
        return
    typer.echo(describe_dtype(run.device, run.dtype))
    if run.iteration:
        typer.echo(f"resumed at iteration {run.iteration} of {run.iterations}")
    if run.train(minutes):
        typer.echo(f"{out / 'weights.safetensors'}  {run.minutes:.1f} minutes")
    else:
        typer.echo(f"stopped at iteration {run.iteration} of {run.iterations}: {RESUME}")


@app.command(epilog=example("dasr evaluate --images Set14 --sigma 0 --sigma 1.2"))
@report_errors
def evaluate(
    weights: Weights = DEFAULT_WEIGHTS,
    images: Annotated[str, typer.Option(help='A dataset, a folder, or "samples".')] = "samples",
    sigma: Annotated[
        list[float] | None, typer.Option(help="A kernel width, HR pixels; repeatable.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="A json file, a row per picture.")] = None,
    dtype: Annotated[str, typer.Option(help="float32, as published, or bfloat16.")] = "float32",
    overwrite: Overwrite = False,
) -> None:
    """Measure PSNR-Y and SSIM-Y over kernel widths, beside bicubic upsampling (§4.2).

    A system that is not blind is told the true degradation.
    """
    import math

    import torch

    from dasrlib import data, evaluation, paper
    from dasrlib import weights as weights_module
    from dasrlib.acceleration.devices import dtype_named
    from dasrlib.records.atomic_write import atomic_write, check_writable

    asked = dtype_named(dtype) or torch.float32
    if out:
        out = check_writable(out, overwrite, [weights_module.find(weights), *data.paths(images)])
    model = weights_module.load_system(weights)
    if model.name in ("predictor", "dncnn"):
        raise ValueError(
            f"{weights} holds {model.name}, which makes no SR picture: "
            "put it together with a system that does (baselines.Predicted, baselines.Denoised)"
        )
    widths = sigma or paper.kernel_widths(model.scale)
    degradations = evaluation.isotropic_degradations(model.scale, widths)
    pictures = data.images(images)
    typer.echo(f"computing in {dtype}")
    rows = {
        "bicubic": evaluation.benchmark(evaluation.Bicubic(model.scale), pictures, degradations),
        weights: evaluation.benchmark(model, pictures, degradations, dtype=asked),
    }
    if out:  # before the first number is printed: a console can fail
        kept = [
            # JSON has no infinity, the PSNR of equal pictures.
            {**asdict(row), "system": name, "psnr": row.psnr if math.isfinite(row.psnr) else None}
            for name, table in rows.items()
            for row in table
        ]
        with atomic_write(out) as temporary:
            temporary.write_text(json.dumps(kept, indent=1, allow_nan=False) + "\n")
    printed = paper.table2(model.scale)["DASR"].get(images, {})
    count = f"{len(pictures)} picture{'' if len(pictures) == 1 else 's'}"
    typer.echo(f"{images}, {count}, ×{model.scale}: PSNR-Y in dB / SSIM-Y")
    typer.echo(f"{'σ':>28s}" + "".join(f"{width:>16g}" for width in widths))
    for name, table in rows.items():
        psnr = evaluation.mean_by_degradation(table)
        ssim = evaluation.mean_by_degradation(table, "ssim")
        cells = (f"{psnr[k]:.2f} / {ssim[k]:.4f}" for k in degradations)
        typer.echo(f"{name:>28s}" + "".join(f"{cell:>16s}" for cell in cells))
    if all(width in printed for width in widths):
        cells = (f"{printed[width]:.2f}" for width in widths)
        typer.echo(f"{'DASR, as printed (Table 2)':>28s}" + "".join(f"{c:>16s}" for c in cells))


@data_app.command("list", epilog=example("dasr data list"))
@report_errors
def data_list() -> None:
    """List the datasets, and the folder of each on this machine."""
    from dasrlib import data

    for name, folder in data.available().items():
        typer.echo(f"{name:10s} {folder if folder else f'not here: dasr data get {name}'}")


@data_app.command("get", epilog=example("dasr data get Set14 B100"))
@report_errors
def data_get(
    names: Annotated[
        list[str],
        typer.Argument(
            help="As in `dasr data list`; `authors` for the DASR authors' own weights.",
            metavar="NAME",
        ),
    ],
    folder: Annotated[
        Path | None, typer.Option(help="By default $DASR_DATA, else the user's cache.")
    ] = None,
) -> None:
    """Download datasets, verify their checksums, and fetch again only what is missing."""
    from dasrlib import authors, weights
    from dasrlib.data import downloads

    for name in names:
        got = authors.get(folder) if name == weights.AUTHORS else downloads.get(name, folder)
        typer.echo(str(got))


@data_app.command("weights", epilog=example("dasr data weights"))
@report_errors
def data_weights() -> None:
    """List the bundled weights, and the minutes and the device of each training."""
    from dasrlib import weights as weights_module

    for name, record in weights_module.catalogue().items():
        typer.echo(f"{name:28s} {record.minutes:.0f} minutes on {record.provenance['device']}")


@app.command(epilog=example("dasr bench --only da_conv"))
@report_errors
def bench(
    device: Annotated[str | None, typer.Option(help="cpu or cuda.")] = None,
    only: Annotated[
        str | None, typer.Option(help="grouped_conv, da_conv, blur, training or inference.")
    ] = None,
    quick: Annotated[bool, typer.Option(help="Tiny sizes: only to see that it runs.")] = False,
) -> None:
    """Check every implementation on this machine, then time it beside the authors' code.

    Only a whole measurement is kept in figures/.
    """
    from dasrlib import bench as bench_module

    record = bench_module.run(device, only, quick)
    typer.echo(bench_module.table(record))
    if not quick and only is None:
        kept = bench_module.save(record)
        typer.echo(f"\n{kept} and {kept.with_suffix('.png')}  {record['minutes']:.1f} minutes")


@app.command(epilog=example("dasr notebooks"))
@report_errors
def notebooks(
    copy: Annotated[
        Path | None,
        typer.Option(help="Copy them to this folder first; files that are there stay."),
    ] = None,
    open_them: Annotated[
        bool, typer.Option("--open/--no-open", help="Whether to start JupyterLab.")
    ] = True,
) -> None:
    """Open JupyterLab on the numbered notebooks.

    In a checkout they are opened where they are. An installed package, or a checkout that cannot be
    written, copies them to ./dasrlib-notebooks first.
    """
    from dasrlib import series

    if copy is None and not series.is_writable():
        copy = Path("dasrlib-notebooks")
    folder = (series.root() if copy is None else series.copy_to(copy)) / "notebooks"
    typer.echo(str(folder))
    if not open_them:
        return
    finished = subprocess.run([sys.executable, "-m", "jupyterlab", str(folder)], check=False)
    raise typer.Exit(finished.returncode)
