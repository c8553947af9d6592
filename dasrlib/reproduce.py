"""dasr reproduce: the paper's tables and figures by one command each, resumed by the same line."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dasrlib.console import example, one_sentence

app = typer.Typer(
    no_args_is_help=True, help="The paper's tables and figures, from training to picture."
)

Profile = Annotated[str, typer.Option(help="smoke, laptop, gpu or paper.")]
Folder = Annotated[
    Path, typer.Option(help="Where the runs are kept, to be resumed; PROFILE inside it.")
]
Minutes = Annotated[
    float | None, typer.Option(help="Stop after so many; the same line goes on from there.")
]


@app.command(epilog=example("dasr reproduce recipes --profile laptop --minutes 30"))
@one_sentence
def recipes(
    profile: Profile = "laptop",
    minutes: Minutes = None,
    seed: int = 0,
    folder: Folder = Path("runs"),
) -> None:
    """What a short contrastive schedule learns, one part of the recipe changed at a time (§3.2.1)."""
    from dasrlib import figures, recipe_study

    data = recipe_study.reproduce(profile, folder / profile / "recipes", minutes, seed)
    if data is None:
        typer.echo("stopped before the last trial: the same line goes on from there")
        return
    if profile == "smoke":
        typer.echo(
            "every trial ran; the numbers of the smoke profile mean nothing and are not kept"
        )
        return
    from dasrlib.plots import recipes as draw

    path = figures.keep(
        "representation-recipes", draw.recipes, data, profile=profile, seed=seed,
        provenance=data["isotropic"][-1]["provenance"],
    )  # fmt: skip
    typer.echo(str(path))
