"""dasr reproduce: a command for each table and figure of the paper; run it again to resume."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import typer

from dasrlib.cli.error_messages import example, report_errors

app = typer.Typer(
    no_args_is_help=True, help="Train, measure and draw the paper's tables and figures."
)

Profile = Annotated[str, typer.Option(help="smoke, laptop, gpu or paper.")]
Folder = Annotated[Path, typer.Option(help="Where the runs are kept, in a folder per profile.")]
Dtype = Annotated[str | None, typer.Option(help="float32 or bfloat16; by default the faster one.")]
Minutes = Annotated[float | None, typer.Option(help="Stop after this many minutes.")]
RESUME = "run the same command again to resume"


@app.command(epilog=example("dasr reproduce ablation --profile laptop --seeds 0,1"))
@report_errors
def ablation(
    profile: Profile = "laptop",
    minutes: Minutes = None,
    seeds: Annotated[str, typer.Option(help="0,1 trains each model twice.")] = "0",
    encoder_recipe: Annotated[
        Literal["short", "moco"], typer.Option(help="moco: RGB input and a queue, as the paper.")
    ] = "short",
    dtype: Dtype = None,
    folder: Folder = Path("runs"),
) -> None:
    """Train Models 1 to 5 under one budget and measure them on Set14: the ablation (§4.2)."""
    from dasrlib import figures, profiles
    from dasrlib.acceleration.devices import describe_dtype, dtype_named, here
    from dasrlib.plots import ablation as draw
    from dasrlib.studies import ablation as experiment

    asked = dtype_named(dtype)
    chosen = profiles.get(profile)
    try:
        numbers = [int(seed) for seed in seeds.split(",")]
    except ValueError:
        raise ValueError(f"seeds are whole numbers with commas between, got {seeds!r}") from None
    suffix = "-papers-recipe" if encoder_recipe == "moco" else ""
    chosen = profiles.with_moco_recipe(chosen) if encoder_recipe == "moco" else chosen
    experiment.require_test_sets(chosen)
    runs = experiment.Ablation(folder / f"{profile}{suffix}", chosen, numbers, dtype=asked)
    typer.echo(describe_dtype(here(), asked))
    done = runs.train(minutes)
    found = runs.figure_data()
    if not done:
        typer.echo(
            f"{len(found.runs) if found else 0} of {len(runs.runs())} runs are finished: "
            "run the same command again to resume"
        )
    if found is None:
        return
    for name, curve in found.measured.items():
        typer.echo(f"{name:8s}" + "".join(f"{psnr:8.2f}" for _, psnr in curve))
    counts = found.parameters
    difference = counts["model2"] / counts["model4"] - 1
    typer.echo(f"model2 has {difference:+.1%} parameters against model4's {counts['model4']:,}")
    for claim in found.claims:
        by = "" if claim.mean is None else f"  {claim.mean:+.2f} dB"
        typer.echo(f"{claim.better} > {claim.worse}: {claim.verdict}{by}")
    if chosen.is_plumbing:
        typer.echo(f"the numbers of the {profile} profile mean nothing and are not kept")
        return
    option = f" --encoder-recipe {encoder_recipe}" if suffix else ""
    path = figures.keep(
        f"ablation{suffix}",
        draw.ablation,
        asdict(found),
        profile=profile,
        seed=numbers[0],
        made_by=f"dasr reproduce ablation{option} --profile {profile} --seeds {seeds}",
        alt=f"PSNR on {found.dataset} of the models over kernel widths, beside bicubic and the "
        "printed row, and the differences that the paper claims",
        minutes=round(sum(run.minutes for run in found.runs), 2),
        datasets=[found.dataset],
        provenance=found.runs[0].provenance,
    )
    typer.echo(str(path))


@app.command(epilog=example("dasr reproduce recipes --profile laptop --minutes 30"))
@report_errors
def recipes(
    profile: Profile = "laptop",
    minutes: Minutes = None,
    seed: Annotated[int, typer.Option(help="Random seed of the trainings.")] = 0,
    dtype: Dtype = None,
    folder: Folder = Path("runs"),
) -> None:
    """Train encoders with contrastive recipes that differ in one part, and probe them (§3.2.1)."""
    from dasrlib import figures, profiles
    from dasrlib.acceleration.devices import describe_dtype, dtype_named, here
    from dasrlib.plots import recipes as draw
    from dasrlib.studies import recipe_study

    asked = dtype_named(dtype)
    typer.echo(describe_dtype(here(), asked))
    data = recipe_study.reproduce(profile, folder / profile / "recipes", minutes, seed, asked)
    if data is None:
        typer.echo(f"stopped before the last trial: {RESUME}")
        return
    if profiles.get(profile).is_plumbing:
        typer.echo(f"the numbers of the {profile} profile mean nothing and are not kept")
        return
    trials = [*data["isotropic"], *data["noisy"]]
    path = figures.keep(
        "representation-recipes",
        draw.recipes,
        data,
        profile=profile,
        seed=seed,
        made_by=f"dasr reproduce recipes --profile {profile} --seed {seed}",
        alt="Accuracies of recipes of contrastive learning, the losses of the paper's recipe and "
        "of the short one, and what noise does to them",
        minutes=round(sum(trial["minutes"] for trial in trials), 2),
        datasets=[data["test"], *profiles.get(profile).data],
        provenance=trials[-1]["provenance"],
    )
    typer.echo(str(path))


@app.command(epilog=example("dasr reproduce general"))
@report_errors
def general(
    profile: Annotated[str, typer.Option(help="laptop, or smoke to see that it runs.")] = "laptop",
    seed: Annotated[int, typer.Option(help="Of the maps' layout.")] = 0,
) -> None:
    """Map B100 under tilted kernels and under noise with the bundled networks (§4.3)."""
    from dasrlib import figures, profiles
    from dasrlib.plots import representation as draw
    from dasrlib.studies import general_degradations as study

    test, found = study.reproduce(profile, seed)
    for unknown, data in found.items():
        typer.echo(f"{test}, which {unknown} of four:")
        for title, run in {**data["maps"], "six pixel statistics": data["baseline"]}.items():
            typer.echo(f"  {title:44s}" + draw.probed(run))
        typer.echo(f"  chance {data['chance']:.0%}, shuffled labels {data['shuffled']:.1%}")
    if profiles.get(profile).is_plumbing:
        typer.echo(f"the numbers of the {profile} profile mean nothing and are not kept")
        return
    for unknown, data in found.items():
        path = figures.keep(
            f"general-{'kernels' if unknown == 'kernel' else 'noise'}",
            draw.degradation_maps,
            data,
            profile=profile,
            seed=seed,
            made_by=f"dasr reproduce general --profile {profile} --seed {seed}",
            alt=f"Maps of the representations of {test} under four "
            + ("tilted kernels without noise" if unknown == "kernel" else "noise levels")
            + ": an untrained encoder, one trained on isotropic kernels without noise, and "
            "one trained on anisotropic kernels with noise",
            weights=study.WEIGHTS,
            datasets=[test],
        )
        typer.echo(str(path))


@app.command(epilog=example("dasr reproduce real"))
@report_errors
def real() -> None:
    """Restore the photographs of RealSRSet, and say what the encoder thinks happened (§4.4)."""
    from dasrlib import figures
    from dasrlib.plots import real_pictures as draw
    from dasrlib.studies import real_pictures as study

    sheet, large, datasets = study.reproduce()
    for found in sheet["photographs"]:
        typer.echo(f"{found['name']:15s}{found['nearest']:28s} distance over next {found['ratio']}")
    for part, share in sheet["right"].items():
        typer.echo(f"right on {sheet['pictures']} held-out pictures, {part}: {share:.1%}")
    first = figures.keep(
        "real",
        draw.contact_sheet,
        sheet,
        profile="laptop",
        seed=0,
        made_by="dasr reproduce real",
        alt="A detail of each photograph of RealSRSet, bicubic beside SR, and below it the known "
        "degradation whose representation is nearest",
        weights=[study.READER],
        datasets=datasets,
    )
    second = figures.keep(
        "real-crops",
        draw.large_crops,
        large,
        profile="laptop",
        seed=0,
        made_by="dasr reproduce real",
        alt="Large details of four photographs of RealSRSet: LR, bicubic, and SR by networks "
        "trained on isotropic blur, on anisotropic blur with noise, and with JPEG as well",
        weights=study.NETWORKS,
        datasets=datasets[:1],
    )
    typer.echo(f"{first}\n{second}")


@app.command(epilog=example("dasr reproduce unseen"))
@report_errors
def unseen() -> None:
    """Measure widths and noise levels beyond the training, and clean pictures (supplement)."""
    from dasrlib import figures
    from dasrlib.plots import real_pictures as draw
    from dasrlib.studies import unseen_degradations as study

    found = study.reproduce()
    for axis in ("width", "noise"):
        for system, table in found[axis]["rows"].items():
            means = "".join(f"{study.mean(row):8.2f}" for row in table.values())
            typer.echo(f"{axis}  {system:24s}{means}")
    for system, lost in found["lost"].items():
        within = "within" if lost <= study.NOT_WORSE else "more than"
        typer.echo(
            f"clean pictures (σ = {study.SIGMA:g}): {system} loses {lost:.2f} dB against "
            f"{study.NETWORKS[0]}, {within} the {study.NOT_WORSE:g} allowed"
        )
    path = figures.keep(
        "unseen",
        draw.unseen,
        found,
        profile="laptop",
        seed=0,
        made_by="dasr reproduce unseen",
        alt="PSNR on Set14 over kernel widths up to 5 and noise levels up to 30, the trained range "
        "shaded, of three networks beside bicubic",
        weights=study.NETWORKS,
        datasets=[study.TEST_SET],
    )
    typer.echo(str(path))


@app.command(epilog=example("dasr reproduce assumption"))
@report_errors
def assumption() -> None:
    """Give one picture two degradations, which the method takes for one (§3.2.1)."""
    from dasrlib import figures
    from dasrlib.plots import real_pictures as draw
    from dasrlib.studies import spatial_degradations as study

    found, datasets = study.reproduce()
    for kind, values in found["cosines"].items():
        typer.echo(f"cosine, {kind:26s}{sum(values) / len(values):6.2f}")
    path = figures.keep(
        "two-degradations",
        draw.two_degradations,
        found,
        profile="laptop",
        seed=0,
        made_by="dasr reproduce assumption",
        alt="A picture with two kernel widths and a photograph with an unsharp background, each "
        "with a map of the width that is read off its patches; cosines of pairs of patches; PSNR "
        "of each half by whose representation is used",
        weights=[map_of["network"] for map_of in found["maps"]],
        datasets=datasets,
    )
    typer.echo(str(path))
