"""How fast the core of DASR runs on this machine: the authors' way and ours, side by side.

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
from dasrlib.acceleration.devices import here
from dasrlib.bench import cases, networks
from dasrlib.bench.measure import WORKLOADS, Case, Workload, peaks, rows_of, tf32
from dasrlib.plots import bench as plots
from dasrlib.records import provenance

GROUPS: dict[str, Callable[[torch.device, Workload], Iterator[Case]]] = {
    "grouped_conv": cases.grouped_conv,
    "da_conv": cases.da_conv,
    "blur": cases.blur,
    "training": networks.training_step,
    "inference": networks.inference,
}
# Words of a device's name that do not tell machines apart: the maker and the packaging.
_NOISE = re.compile(
    r"\((r|tm|c)\)|@.*|\b(nvidia|amd|intel|geforce|tesla|cpu|processor|\d+-core|\d+gb|"
    r"hbm\w*|pcie|sxm\d*|nvl)\b"
)


def slug(name: str) -> str:
    """A device's name, short enough for a file: "h100" of "NVIDIA H100 80GB HBM3"."""
    return "-".join(re.findall(r"[a-z0-9]+", _NOISE.sub(" ", name.lower()))) or "device"


def _check(name: str) -> torch.device:
    if name not in ("cpu", "cuda"):
        raise ValueError(errors.unknown_name_message("device", name, ("cpu", "cuda")))
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("there is no CUDA device on this machine: measure with --device cpu")
    if name == "cuda" and os.environ.get("TRITON_INTERPRET") == "1":
        raise ValueError(
            "TRITON_INTERPRET=1 runs the kernels in Triton's interpreter, which is for tests: "
            "unset it to measure"
        )
    return torch.device(name)


def run(device: str | None = None, only: str | None = None, quick: bool = False) -> dict[str, Any]:
    """Checks and measures everything, or the group `only` of GROUPS.

    device: "cpu" or "cuda", by default the GPU where there is one. quick: tiny sizes and two
    rounds, to see that it runs; the numbers mean nothing. Returns a record that JSON can hold:
    "ceilings" (measure.peaks), "rows" (measure.rows_of, and "bandwidth", their bytes over their
    median as a fraction of the copy speed), "quick", "seed", "minutes" and "provenance". Raises
    ValueError for an unknown group, and for a device that this machine does not have.
    """
    chosen = _check(device or here().type)
    if only is not None and only not in GROUPS:
        raise ValueError(errors.unknown_name_message("group", only, GROUPS))
    work = WORKLOADS["quick" if quick else chosen.type]
    started, seed = time.monotonic(), torch.seed()  # a new seed: the inputs are never the same
    rows: list[dict[str, Any]] = []
    with tf32(False), tqdm(unit=" cases") as bar:
        bar.set_description_str("ceilings")
        limits = peaks(chosen, work)
        for group in [only] if only else GROUPS:
            for case in GROUPS[group](chosen, work):
                bar.set_description_str(f"{case.what}, {case.size}")
                rows += [{"group": group, **row} for row in rows_of(case, chosen, work)]
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


def _cells(row: dict[str, Any]) -> str:
    if row["seconds"] is None:
        return f"  {row['refused']}"
    lower, median, upper = row["seconds"]
    spread = f"± {50 * (upper - lower) / median:.0f} %"
    ratio = f"{row['ratio']:.2f} ×" if row["ratio"] else ""
    copy = f"{row['bandwidth']:.0%}" if row["bandwidth"] else ""
    peak = f"{row['peak_bytes'] / 2**20:,.0f} MiB" if row["peak_bytes"] is not None else ""
    return f"{1000 * median:7.3g} ms {spread:>8s} {ratio:>9s} {copy:>7s} {peak:>12s}"


def table(record: dict[str, Any]) -> str:
    """The record as text: for each variant the median, half the distance of the quartiles, how many
    times faster than the first variant, the fraction of the copy speed, and the peak memory."""
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
        start = f"  {row['variant']:24s} {row['dtype']:9s} {row['layout']:13s}"
        lines.append(f"{start} {_cells(row)}".rstrip())
    return "\n".join(lines)


def save(record: dict[str, Any]) -> Path:
    """Keeps a record as figures/bench-DEVICE.json and draws the png beside it; returns the json.

    Raises ValueError for a quick record, whose numbers mean nothing.
    """
    if record["quick"]:
        raise ValueError("a quick run means nothing and is not kept: leave --quick out")
    device = record["provenance"]["device"]
    return figures.keep(
        f"bench-{slug(device)}",
        plots.roofline,
        {"device": device, "ceilings": record["ceilings"], "rows": record["rows"]},
        profile=None,
        seed=record["seed"],
        made_by="dasr bench",
        alt="Operations a second over operations a byte under this machine's roof: a column for "
        "each dtype that the machine has units for, a line for each size",
        minutes=record["minutes"],
        provenance=record["provenance"],
    )
