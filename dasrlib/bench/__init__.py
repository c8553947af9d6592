"""How fast the heart of DASR runs on this machine, every way of computing it beside the released
one.

`run` measures and gives a record, `table` makes text of it, `save` keeps it as
figures/bench-DEVICE.json with the roofline figure drawn from it.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from tqdm.auto import tqdm

from dasrlib import errors, figures
from dasrlib.bench import cases, networks, peaks
from dasrlib.bench.measure import BUDGETS, QUICK, Case, rows_of, tf32
from dasrlib.plots import bench as plots
from dasrlib.records import provenance

GROUPS: dict[str, Callable[[torch.device, bool], Iterator[Case]]] = {
    "grouped_conv": cases.grouped_conv,
    "da_conv": cases.da_conv,
    "blur": cases.blur,
    "training": networks.training_step,
    "inference": networks.enlargement,
}
# Of a device's name: who makes it and how it is packed tell machines no better apart.
_NOISE = re.compile(
    r"\((r|tm|c)\)|@.*|\b(nvidia|amd|intel|geforce|tesla|cpu|processor|\d+-core|\d+gb|"
    r"hbm\w*|pcie|sxm\d*|nvl)\b"
)


def slug(name: str) -> str:
    """A device's name, short enough for a file: "h100" of "NVIDIA H100 80GB HBM3"."""
    return "-".join(re.findall(r"[a-z0-9]+", _NOISE.sub(" ", name.lower()))) or "device"


def _check(name: str) -> torch.device:
    if name not in BUDGETS:
        raise ValueError(errors.unknown_name_message("device", name, BUDGETS))
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("there is no CUDA device on this machine: measure with --device cpu")
    if name == "cuda" and os.environ.get("TRITON_INTERPRET") == "1":
        raise ValueError(
            "TRITON_INTERPRET=1 runs the kernels in Triton's interpreter, which is for tests: "
            "unset it to measure"
        )
    return torch.device(name)


def run(device: str | None = None, only: str | None = None, quick: bool = False) -> dict[str, Any]:
    """Everything measured, or the group `only`, as a record that json can hold.

    device: "cpu" or "cuda", by default the GPU where there is one. quick: tiny sizes and two
    rounds, to see that it runs; the numbers mean nothing. Returns ceilings (copy in bytes a second,
    matmul by dtype in operations a second), rows (see measure.rows_of; and bandwidth, their bytes
    over their median as a fraction of copy), seed, minutes and provenance. Raises ValueError for an
    unknown group, and for a device that is not here.
    """
    chosen = _check(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    if only is not None and only not in GROUPS:
        raise ValueError(errors.unknown_name_message("group", only, GROUPS))
    budget = QUICK if quick else BUDGETS[chosen.type]
    started, seed = time.monotonic(), torch.seed()  # fresh: what is checked is never the same
    rows: list[dict[str, Any]] = []
    with tf32(False), tqdm(unit=" cases") as bar:
        bar.set_description_str("ceilings")
        limits = peaks.measure(chosen, budget, quick)
        for group, make in GROUPS.items():
            if only in (None, group):
                for case in make(chosen, quick):
                    bar.set_description_str(f"{case.what}, {case.size}")
                    rows += rows_of(case, chosen, budget)
                    bar.update()
    for row in rows:
        known = row["seconds"] and row["bytes"]
        row["bandwidth"] = row["bytes"] / row["seconds"][1] / limits["copy"] if known else None
    return {
        "quick": quick,
        "seed": seed,
        "minutes": round((time.monotonic() - started) / 60, 2),
        "provenance": provenance.describe(chosen),
        "ceilings": limits,
        "rows": rows,
    }


def _duration(seconds: float) -> str:
    units = {"s ": 1.0, "ms": 1e-3, "µs": 1e-6}
    unit = next((name for name, size in units.items() if seconds >= size), "µs")
    return f"{seconds / units[unit]:.3g} {unit}"


def _cells(row: dict[str, Any]) -> str:
    if row["seconds"] is None:
        return f"  {row['refused']}"
    lower, median, upper = row["seconds"]
    spread = f"± {50 * (upper - lower) / median:.0f} %"
    ratio = f"{row['ratio']:.2f} ×" if row["ratio"] else ""
    copy = f"{100 * row['bandwidth']:.0f} %" if row["bandwidth"] else ""
    peak = f"{row['peak_bytes'] / 2**20:,.0f} MiB" if row["peak_bytes"] is not None else ""
    return f"{_duration(median):>10s} {spread:>8s} {ratio:>9s} {copy:>7s} {peak:>12s}"


def table(record: dict[str, Any]) -> str:
    """The record as text: for each way the median, half the distance of the quartiles, how many
    times faster it is than the first way, the fraction of the copy bandwidth, the peak memory."""
    limits, lines = record["ceilings"], []
    products = ", ".join(f"{v / 1e12:.3g} TFLOP/s {k}" for k, v in limits["matmul"].items())
    lines.append(f"{record['provenance']['device']}, {record['provenance']['threads']} threads")
    lines.append(f"copy {limits['copy'] / 1e9:.4g} GB/s read and written; matmul {products}")
    if record["quick"]:
        lines.append("quick: tiny sizes, the numbers mean nothing")
    heading = f"{'median':>10s} {'spread':>8s} {'ratio':>9s} {'copy':>7s} {'peak memory':>12s}"
    before = None
    for row in record["rows"]:
        title = f"{row['what']}, {row['size']}"
        if title != before:
            lines += ["", f"{title:51s}{heading}"]
            before = title
        lines.append(
            f"  {row['variant']:24s} {row['dtype']:9s} {row['layout']:13s} {_cells(row)}".rstrip()
        )
    return "\n".join(lines)


def save(record: dict[str, Any]) -> Path:
    """Keeps a record as figures/bench-DEVICE.json and draws the png beside it; returns the json.

    Raises ValueError for a quick record, which means nothing.
    """
    if record["quick"]:
        raise ValueError("a quick run means nothing and is not kept: leave --quick out")
    return figures.keep(
        f"bench-{slug(record['provenance']['device'])}",
        plots.roofline,
        {
            "device": record["provenance"]["device"],
            "ceilings": record["ceilings"],
            "rows": record["rows"],
        },
        profile="paper",
        seed=record["seed"],
        made_by="dasr bench",
        alt="Operations a second over operations a byte under this machine's roof: a column for "
        "each dtype that the machine has units for, a line for each size",
        minutes=record["minutes"],
        provenance=record["provenance"],
    )
