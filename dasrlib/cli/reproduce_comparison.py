"""dasr reproduce table2, table3 and baselines: DASR beside the systems it is compared with."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from statistics import fmean
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dasrlib.cli.error_messages import example, report_errors
from dasrlib.cli.reproduce import app

if TYPE_CHECKING:
    from dasrlib.studies.tables import Block, Row

Systems = Annotated[
    str | None,
    typer.Option(help="Which to measure, with commas between; by default all that are bundled."),
]


@app.command(epilog=example("dasr reproduce table2 --systems model4,bicubic"))
@report_errors
def table2(systems: Systems = None) -> None:
    """Measure isotropic blur at ×2, ×3 and ×4, beside the paper's Table 2 (§4.2)."""
    from dasrlib.studies import tables

    found, missing = tables.sets_here()
    if missing:
        typer.echo(missing)
    _reproduce_table("table2", systems, tables.TABLE2, tables.table2(found))
    if systems is None:
        _keep_summaries()


@app.command(epilog=example("dasr reproduce table3 --systems model4,model5,bicubic"))
@report_errors
def table3(systems: Systems = None) -> None:
    """Measure anisotropic blur with noise on Set14 at ×4, beside the paper's Table 3 (§4.3)."""
    from dasrlib.studies import tables

    _reproduce_table("table3", systems, tables.TABLE3, tables.table3())


def _reproduce_table(
    name: str, asked: str | None, usual: Sequence[str], blocks: Sequence[Block]
) -> None:
    """Measures, prints each row as soon as it is there, and keeps figures/NAME."""
    from dasrlib import compositions, data, figures
    from dasrlib.plots import tables as draw
    from dasrlib.studies import tables
    from dasrlib.systems import SYSTEMS

    started = time.monotonic()
    names = asked.split(",") if asked else usual
    tables.require_weights(names, blocks)
    datasets = list(dict.fromkeys(block.dataset for block in blocks))
    for dataset in datasets:
        data.paths(dataset)  # a missing one is named before the work
    rows: list[Row] = []
    used: dict[str, None] = {}
    for block in blocks:
        typer.echo(f"\n{block.dataset}, ×{block.scale}, noise {block.noise}: PSNR-Y in dB")
        for sign, values in block.kernels.items():
            end = "    mean" if sign == [*block.kernels][-1] else ""
            typer.echo(f"{sign:>35s}" + "".join(f"{value:8g}" for value in values) + end)
        measured = tables.measured_on(block, names, asked is not None)
        for system in measured:
            space = tables.space_of(block)
            used |= dict.fromkeys(compositions.weights_of(system, block.scale, space))
        for row in tables.measure(block, measured):
            rows.append(row)
            typer.echo("\n".join(_lines(row)))
    systems = list(dict.fromkeys(row.system for row in rows if row.system))
    path = figures.keep(
        name,
        getattr(draw, name),
        asdict(tables.TableData({str(b.scale): b.kernels for b in blocks}, rows)),
        profile="laptop",
        seed=0,
        made_by=f"dasr reproduce {name}" + (f" --systems {asked}" if asked else ""),
        alt=f"PSNR on {', '.join(datasets)} of {', '.join(SYSTEMS[s].short for s in systems)}, "
        "measured here for each kernel, beside the printed rows of DASR and of the best other "
        "method",
        minutes=round((time.monotonic() - started) / 60, 2),
        weights=[*used],
        datasets=datasets,
    )
    typer.echo(str(path))


def _keep_summaries() -> None:
    """Keeps the two figures of Set14 at ×4 that are drawn from Table 2's run."""
    from dasrlib import figures
    from dasrlib.plots import baselines as draw
    from dasrlib.studies import tables
    from dasrlib.systems import short

    table = figures.read("table2")
    rows = [tables.Row(**row) for row in table.data["rows"]]
    found = tables.by_system(rows)
    shown = {"dataset": "Set14", "scale": 4, "widths": table.data["kernels"]["4"]["σ"]}
    names = ", ".join(short(name) for name in found)
    for name, drawn, alt in (
        ("psnr-over-width", draw.psnr_over_width, f"PSNR on Set14 ×4 over kernel widths: {names}"),
        ("quality-seconds", draw.quality_and_seconds,
         f"Mean PSNR on Set14 ×4 against seconds a picture: {names}"),
    ):  # fmt: skip
        path = figures.keep(
            name, drawn, shown | {"systems": found}, profile="laptop", seed=0,
            made_by="dasr reproduce table2", alt=alt, minutes=table.minutes,
            weights=table.weights or (), datasets=["Set14"], provenance=table.provenance,
        )  # fmt: skip
        typer.echo(str(path))


def _lines(row: Row) -> list[str]:
    """A row for the console; below a measured one its differences to the printed DASR."""

    def line(title: str, values: Sequence[float], form: str) -> str:
        return f"{title:>35s}" + "".join(f"{v:{form}}" for v in [*values, fmean(values)])

    if row.ssim is None:
        return [line(f"{row.title}, printed", row.psnr, "8.2f")]
    return [
        line(row.title, row.psnr, "8.2f") + f"  {row.seconds:.3f} s a picture",
        line("− printed DASR", row.difference, "+8.2f"),
        line("SSIM-Y", row.ssim, "8.4f"),
    ]


@app.command(epilog=example("dasr reproduce baselines"))
@report_errors
def baselines() -> None:
    """Show where the systems that DASR is compared with break (§4.2)."""
    from dasrlib import compositions, figures
    from dasrlib.plots import baselines as draw
    from dasrlib.plots import studies as draw_studies
    from dasrlib.studies import baseline_assumptions as study
    from dasrlib.systems import short

    def keep(
        name: str, drawn: figures.Draw, data: dict[str, Any], systems: Sequence[str], alt: str
    ) -> None:
        scale = data.get("scale", 4)
        used = dict.fromkeys(
            w for system in systems for w in compositions.weights_of(system, scale)
        )
        path = figures.keep(
            name,
            drawn,
            data,
            profile="laptop",
            seed=0,
            made_by="dasr reproduce baselines",
            alt=alt,
            weights=[*used],
            datasets=[data["dataset"]],
        )
        typer.echo(str(path))

    keep(
        "told-wrong",
        draw_studies.kernel_mismatch,
        study.reproduce_ridge(),
        study.TOLD_WRONG,
        "Decibels lost on Set5 where SRMDNF, Model 5 and DASR take one kernel width for another",
    )
    keep(
        "corrections",
        draw.corrections,
        study.reproduce_corrections(),
        ["ikc"],
        "PSNR of IKC on Set5 and the error of its code after each correction, from the predicted "
        "code and from a wrong one",
    )
    keep(
        "adaptation",
        draw.adaptation,
        study.reproduce_adaptation(),
        study.ADAPTING,
        "PSNR of ZSSR and MZSR on Set5 ×2 after each step of their training on the test picture, "
        "beside bicubic upsampling",
    )
    crop = study.reproduce_crop()
    keep(
        "crop-by-all",
        draw.crop_by_all,
        crop,
        [*crop["sr"]],
        f"A detail of {crop['picture']}: HR, LR, and restored by "
        + ", ".join(short(name) for name in crop["sr"]),
    )
