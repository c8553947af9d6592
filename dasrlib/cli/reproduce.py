"""dasr reproduce: a command for each table and figure of the paper; run it again to resume."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dasrlib.cli.error_messages import example, report_errors

app = typer.Typer(
    no_args_is_help=True, help="Train, measure and draw the paper's tables and figures."
)

Profile = Annotated[str, typer.Option(help="smoke, laptop, gpu or paper.")]
Folder = Annotated[Path, typer.Option(help="Where the runs are kept, in a folder per profile.")]
Minutes = Annotated[
    float | None,
    typer.Option(help="Stop after this many minutes. Run the same command again to resume."),
]


@app.command(epilog=example("dasr reproduce ablation --profile laptop --seeds 0,1"))
@report_errors
def ablation(
    profile: Profile = "laptop",
    minutes: Minutes = None,
    seeds: Annotated[
        str, typer.Option(help="Random seeds, with commas between: 0,1 trains each model twice.")
    ] = "0",
    papers_recipe: Annotated[
        bool,
        typer.Option(help="Train the encoder as the paper does: RGB input, MoCo with a queue."),
    ] = False,
    folder: Folder = Path("runs"),
) -> None:
    """Train Models 1 to 5 under one budget and measure them on Set14: the ablation (§4.2)."""
    from dasrlib import figures, profiles
    from dasrlib.plots import ablation as draw
    from dasrlib.studies import ablation as experiment

    chosen = profiles.get(profile)
    try:
        numbers = [int(seed) for seed in seeds.split(",")]
    except ValueError:
        raise ValueError(f"seeds are whole numbers with commas between, got {seeds!r}") from None
    suffix = "-papers-recipe" if papers_recipe else ""
    chosen = profiles.with_papers_recipe(chosen) if papers_recipe else chosen
    experiment.require_test_sets(chosen)
    runs = experiment.Ablation(folder / f"{profile}{suffix}", chosen, numbers)
    done = runs.train(minutes)
    data = runs.results()
    if not done:
        typer.echo(
            f"{len(data['runs']) if data else 0} of {len(runs.runs())} runs are finished: "
            "run the same command again to resume"
        )
    if data is None:
        return
    for name, values in data["measured"].items():
        typer.echo(f"{name:8s}" + "".join(f"{value:8.2f}" for value in values))
    counts = data["parameters"]
    difference = counts["model2"] / counts["model4"] - 1
    typer.echo(f"model2 has {difference:+.1%} parameters against model4's {counts['model4']:,}")
    for claim in data["claims"]:
        by = "" if claim["mean"] is None else f"  {claim['mean']:+.2f} dB"
        typer.echo(f"{claim['better']} > {claim['worse']}: {claim['verdict']}{by}")
    if profile == "smoke":
        typer.echo("the numbers of the smoke profile mean nothing and are not kept")
        return
    spent = {f"{run['model']}-{run['seed']}": run["minutes"] for run in data["runs"]}
    trained_on = data["runs"][0]["provenance"]
    path = figures.keep(
        f"ablation{suffix}", draw.ablation, data, profile=profile, seed=numbers[0],
        minutes=spent, provenance=trained_on,
    )  # fmt: skip
    typer.echo(str(path))


@app.command(epilog=example("dasr reproduce recipes --profile laptop --minutes 30"))
@report_errors
def recipes(
    profile: Profile = "laptop",
    minutes: Minutes = None,
    seed: Annotated[int, typer.Option(help="Random seed of the trainings.")] = 0,
    folder: Folder = Path("runs"),
) -> None:
    """Train encoders with contrastive recipes that differ in one part, and probe them (§3.2.1)."""
    from dasrlib import figures
    from dasrlib.studies import recipe_study

    data = recipe_study.reproduce(profile, folder / profile / "recipes", minutes, seed)
    if data is None:
        typer.echo("stopped before the last trial: run the same command again to resume")
        return
    if profile == "smoke":
        typer.echo("the numbers of the smoke profile mean nothing and are not kept")
        return
    from dasrlib.plots import recipes as draw

    path = figures.keep(
        "representation-recipes", draw.recipes, data, profile=profile, seed=seed,
        provenance=data["isotropic"][-1]["provenance"],
    )  # fmt: skip
    typer.echo(str(path))
