"""The tables of the book's page of results, from what was kept of the runs.

Everything is read when the book is built: the records of the figures, the printed tables of
`dasrlib.paper` and the records of the bundled weights.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from dasrlib import paper, weights
from dasrlib.book import captions
from dasrlib.records.figure_record import FigureRecord
from dasrlib.records.run_record import mean_of
from dasrlib.studies.ablation import SCALE
from dasrlib.systems import ABLATION, FULL_METHOD, SYSTEMS, short

NOTHING = "not measured"


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[object]], words: int = 1) -> str:
    """A Markdown table; after the first `words` columns they are numbers, and set to the right."""
    lines = [head, ["---"] * words + ["---:"] * (len(head) - words), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def _cells(values: Iterable[float]) -> list[str]:
    return [f"{value:.2f}" for value in values]


def _psnr(curve: Sequence[Sequence[float]]) -> list[str]:
    """The values of a curve, and their mean."""
    return _cells([*(psnr for _, psnr in curve), mean_of(curve)])


def trainings(record: FigureRecord, model: str) -> list[dict[str, Any]]:
    """The runs of one model in the record of an ablation, by seed."""
    runs = [run for run in record.data["runs"] if run["model"] == model]
    return sorted(runs, key=lambda run: run["seed"])


def spread(record: FigureRecord, model: str) -> float | None:
    """How far apart the best and the worst training of a model are, dB of the mean over the widths.

    None where there are fewer than two.
    """
    means = [mean_of(run["psnr"]) for run in trainings(record, model)]
    return max(means) - min(means) if len(means) > 1 else None


def _claim(claim: dict[str, Any]) -> str:
    order = "better than" if claim["better"] == FULL_METHOD else "at least as good as"
    return f"{short(claim['better'])} is {order} {short(claim['worse'])}"


def ablation(record: FigureRecord) -> str:
    """One record of `dasr reproduce ablation`: models, claims, spread and runs (§4.2)."""
    data = record.data
    widths = [width for width, _ in data["measured"]["bicubic"]]
    head = [f"PSNR-Y, dB ({data['dataset']} ×4)", *(f"σ {width:g}" for width in widths), "mean"]
    rows: list[list[str]] = []
    for method in ("Bicubic", "DASR"):
        if method in data["printed"]:
            rows.append([f"{method}, *printed in the paper*", *_psnr(data["printed"][method])])
    between = [["bicubic, measured here", *_psnr(data["measured"]["bicubic"])]]
    for model in ABLATION:
        runs = trainings(record, model)
        if runs:
            often = captions.trainings_in_words(len(runs))
            cells = _psnr(data["measured"][model])
            between.append([f"{SYSTEMS[model].title}, measured here, {often}", *cells])
        else:
            between.append([SYSTEMS[model].title, *[NOTHING] * (len(head) - 1)])
    rows[1:1] = between
    claims = [
        [
            _claim(claim),
            claim["verdict"],
            "" if claim["mean"] is None else f"{claim['mean']:+.3f}",
            ", ".join(f"{value:+.3f}" for value in claim["differences"].values()),
        ]
        for claim in data["claims"]
    ]
    return f"""{markdown_table(head, rows)}

A row of several trainings is their mean. What the paper claims, and what came out in the profile
`{record.profile}`; a difference is of the means over the four widths, in dB:

{markdown_table(["the paper's claim", "here", "mean", "seed by seed"], claims, words=2)}

{_spread(record)}

{_runs(record)}
"""


def _spreads(record: FigureRecord) -> dict[str, float]:
    found = {model: spread(record, model) for model in ABLATION}
    return {model: value for model, value in found.items() if value is not None}


def spread_in_words(record: FigureRecord) -> str:
    """How far apart several trainings of one model are, or that there is only one of each."""
    several = _spreads(record)
    if not several:
        return (
            "each model was trained once, so how far two trainings of one model differ is "
            f"{NOTHING}, and a difference of a few hundredths between models decides nothing."
        )
    return (
        "between the best and the worst training of one model lie up to "
        f"{max(several.values()):.2f} dB. A difference between models that is not clearly larger "
        "decides nothing."
    )


def _spread(record: FigureRecord) -> str:
    rows = [
        [SYSTEMS[model].title, len(trainings(record, model)), f"{value:.3f}"]
        for model, value in _spreads(record).items()
    ]
    words = f"How far can the differences be trusted? Here {spread_in_words(record)}"
    if not rows:
        return words
    return f"{words}\n\n{markdown_table(['', 'trainings', 'best − worst, dB'], rows)}"


def _runs(record: FigureRecord) -> str:
    parameters = record.data["parameters"]
    head = ["training", "parameters", "iterations", "minutes", "mean PSNR-Y", "mean SSIM-Y"]
    rows = []
    for model in ABLATION:
        for run in trainings(record, model):
            psnr, ssim = mean_of(run["psnr"]), mean_of(run["ssim"])
            place = captions.machine(run["provenance"])
            rows.append(
                [f"{short(model)}, seed {run['seed']}: {run['dtype']}, {place}",
                 f"{parameters[model]:,}", f"{run['iterations']:,}", f"{run['minutes']:.1f}",
                 f"{psnr:.3f}", f"{ssim:.4f}"]
            )  # fmt: skip
    return "Every training:\n\n" + markdown_table(head, rows)


def table2(scale: int, here: dict[str, FigureRecord]) -> str:
    """Table 2 for a scale: the printed rows, and beside them what was measured (§4.2)."""
    widths, printed = paper.kernel_widths(scale), paper.table2(scale)
    released = paper.reference_bicubic(scale)
    ours = here["bicubic"].data if "bicubic" in here else {"scale": None, "sets": {}}
    head = ["test set", "method", "source", *(f"σ {width:g}" for width in widths)]
    rows: list[list[str]] = []
    for dataset in paper.TEST_SETS:
        first = len(rows)
        for method, sets in printed.items():
            rows.append(["", method, "*printed*", *_cells(sets[dataset].values())])
        if ours["scale"] == scale and dataset in ours["sets"]:
            cells = _cells(ours["sets"][dataset]["here"])
            rows.append(["", "Bicubic", "measured here", *cells])
        if dataset in released:
            cells = _cells(released[dataset].values())
            rows.append(["", "Bicubic", "measured with the released code", *cells])
        rows += _our_rows(scale, dataset, len(widths), here)
        rows[first][0] = dataset
    return markdown_table(head, rows, words=3)


def _our_rows(
    scale: int, dataset: str, width: int, here: dict[str, FigureRecord]
) -> list[list[str]]:
    """The rows of the ablations' models, or one that says that there is none."""
    rows = []
    for name, record in here.items():
        data = record.data
        if name.startswith("ablation") and scale == SCALE and data["dataset"] == dataset:
            source = f"measured here, {captions.anchor_link(name)}, profile `{record.profile}`"
            rows += [
                ["", SYSTEMS[model].title, source, *_psnr(data["measured"][model])[:-1]]
                for model in ABLATION
                if model in data["measured"]
            ]
    return rows or [["", "DASR", f"{NOTHING} here", *[""] * width]]


def table3() -> str:
    """Table 3: nine anisotropic kernels, three levels of noise; nothing is measured yet (§4.3)."""
    kernels = paper.TABLES["table3"]["kernels_lambda1_lambda2_thetadeg"]
    head = ["method", "noise", *(f"{a:g}, {b:g}, {theta:g}°" for a, b, theta in kernels)]
    rows = [
        [f"{method}, *printed*", level, *_cells(values)]
        for method, levels in paper.table3().items()
        for level, values in levels.items()
    ]
    rows.append([f"DASR: {NOTHING} here", *[""] * (1 + len(kernels))])
    return markdown_table(head, rows)


def bicubic_gaps() -> tuple[list[float], list[float]]:
    """Measured minus printed bicubic PSNR over Table 2, dB: without blur, and with it."""
    gaps: tuple[list[float], list[float]] = ([], [])
    for scale in paper.SCALES:
        printed = paper.table2(scale)["Bicubic"]
        for dataset, row in paper.reference_bicubic(scale).items():
            for sigma, psnr in row.items():
                gaps[sigma > 0].append(psnr - printed[dataset][sigma])
    return gaps


def bundled_weights() -> str:
    """The networks that come with the library, and how each was trained."""
    rows = [
        [f"`{name}`", record.dtype, f"{record.log[-1]['iteration']:,}",
         f"{record.minutes:.1f}", captions.machine(record.provenance)]
        for name, record in weights.catalogue().items()
    ]  # fmt: skip
    return markdown_table(["weights", "in", "iterations", "minutes", "where"], rows)


def ablations(here: dict[str, FigureRecord]) -> str:
    """Every ablation that was kept, each under a heading of its own."""
    parts = [
        f"### Models 1 to 5, {name}\n\n"
        f"Made by {captions.command_and_notebook(record)}.\n\n{ablation(record)}"
        for name, record in here.items()
        if name.startswith("ablation")
    ]
    return "\n\n".join(parts) or f"The five models: {NOTHING}."
