"""A run's record: the keys that files have had from the start, and nothing unreadable."""

from __future__ import annotations

import pytest

from dasrlib import weights
from dasrlib.records.run_record import Measurement, RunRecord, mean_of

BUNDLED = sorted(weights.BUNDLED.rglob("*.json"))


@pytest.mark.parametrize("path", BUNDLED, ids=lambda path: path.stem)
def test_a_record_is_written_as_it_was_read(path, tmp_path):
    record = RunRecord.read(path)
    record.write(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_text() == path.read_text()


def test_validations_are_points_of_psnr_over_the_width():
    log = [
        {"iteration": 25, "stage": 1, "contrastive": 2.0},
        {"iteration": 50, "stage": 2, "psnr": {"0": 25.5, "1.2": 24.5}},
    ]
    record = RunRecord("model4", 4, 0, {}, {}, 1.0, "float32", {}, log)
    assert record.validations == [(50, [(0.0, 25.5), (1.2, 24.5)])]
    assert mean_of(record.validations[0][1]) == 25


def test_another_json_is_refused_with_what_it_lacks(tmp_path):
    path = tmp_path / "weights.json"
    path.write_text('{"model": "model4", "scale": 4, "seed": 0, "space": {}, "profile": {}}')
    with pytest.raises(ValueError, match="minutes, dtype, provenance, log missing: expected"):
        RunRecord.read(path)


def test_measurements_are_compared_without_their_time():
    one = Measurement("bicubic", "baboon", 1.2, 21.0, 0.5, seed=0, seconds=0.1)
    assert one == Measurement("bicubic", "baboon", 1.2, 21.0, 0.5, seed=0, seconds=0.2)
    assert one != Measurement("bicubic", "baboon", 2.4, 21.0, 0.5, seed=0, seconds=0.1)
