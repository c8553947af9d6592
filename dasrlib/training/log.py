"""§4.1 The log of a run: a line of json every few iterations, which can be read at any time."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dasrlib.records.atomic_write import atomic_write
from dasrlib.records.run_record import LogRow


class Log:
    """log.jsonl of a run's folder, and its curves for TensorBoard where that is installed.

    `Log(folder).rows()` reads it while another process trains, as a notebook does that plots it.
    """

    def __init__(self, folder: str | Path) -> None:
        self.path, self.curves = Path(folder) / "log.jsonl", Path(folder) / "tensorboard"
        self.board: Any = None

    def rows(self) -> list[LogRow]:
        """The lines so far. Damaged ones are skipped, and a warning says how many."""
        if not self.path.exists():
            return []
        # A line without its end was being written when the machine stopped.
        whole, _, _ = self.path.read_text(encoding="utf-8", errors="replace").rpartition("\n")
        rows: list[LogRow] = []
        for line in whole.splitlines():
            try:
                row = LogRow(**json.loads(line))
                int(row["iteration"])
            except (ValueError, TypeError, KeyError):
                continue
            rows.append(row)
        if skipped := len(whole.splitlines()) - len(rows):
            lines = "damaged line is" if skipped == 1 else "damaged lines are"
            warnings.warn(f"{self.path}: {skipped} {lines} skipped", stacklevel=3)
        return rows

    def begin(self, iteration: int) -> None:
        """Keeps the lines up to an iteration: a run that was killed logs the later ones again."""
        kept = [row for row in self.rows() if row["iteration"] <= iteration]
        with atomic_write(self.path) as temporary:
            temporary.write_text("".join(json.dumps(row) + "\n" for row in kept), encoding="utf-8")
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            return
        self.board = SummaryWriter(str(self.curves), purge_step=iteration + 1)

    def add(self, row: LogRow) -> None:
        """Writes a line."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        if self.board is None:
            return
        for name, value in row.items():
            parts = value.items() if isinstance(value, Mapping) else [("", value)]
            for label, number in parts:
                if name != "iteration":
                    self.board.add_scalar(f"{name} {label}".strip(), number, row["iteration"])
        self.board.flush()

    def end(self) -> None:
        """Closes the curves."""
        if self.board is not None:
            self.board.close()
            self.board = None
