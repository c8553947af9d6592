"""Datasets, folders and samples: what is found, in which order, and what is held out."""

import numpy as np
import pytest
import torch
from PIL import Image

from dasrlib import data
from dasrlib.data import downloads


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine with a DASR_DATA and a download cache, both still empty."""
    places = {"data": tmp_path / "data", "cache": tmp_path / "cache"}
    for place in places.values():
        place.mkdir()
    monkeypatch.setenv("DASR_DATA", str(places["data"]))
    monkeypatch.setattr(downloads, "cache_folder", lambda: places["cache"])
    return places


def picture(path, colour=(255, 0, 0), size=(4, 3)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)
    return path


def test_samples_need_no_datasets_and_no_network(machine, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("the samples were looked for on the network")

    monkeypatch.setattr("socket.socket.connect", refuse)
    samples = data.images("samples")
    assert [name for name, _ in samples] == [
        "astronaut",
        "chelsea",
        "china",
        "coffee",
        "flower",
        "hubble_deep_field",
        "ihc",
        "motorcycle_left",
        "rocket",
    ]
    for name, image in samples:
        assert image.dtype == torch.float32
        assert image.shape[0] == 3
        assert min(image.shape[1:]) >= 300, name
        assert image.min() >= 0
        assert 0.8 < image.max() <= 1
        assert image.is_contiguous()
        assert (image[0] - image[2]).abs().mean() > 0.01, f"{name} has no colour"


def test_limit_keeps_the_first(machine):
    assert [name for name, _ in data.images("samples", limit=2)] == ["astronaut", "chelsea"]
    with pytest.raises(ValueError, match=r"limit must be at least 1.*got 0"):
        data.images("samples", limit=0)


def test_dasr_data_is_searched_before_the_cache(machine):
    assert data.search_folders() == [machine["data"], machine["cache"]]
    cached = picture(machine["cache"] / "Set5" / "b.png")
    assert data.paths("Set5") == [cached]
    own = picture(machine["data"] / "Set5" / "a.png")
    assert data.paths("Set5") == [own]
    assert data.available()["Set5"] == own.parent


def test_without_dasr_data_there_is_the_cache(machine, monkeypatch):
    monkeypatch.delenv("DASR_DATA")
    assert data.search_folders() == [machine["cache"]]


def test_available_lists_every_dataset(machine):
    found = data.available()
    assert list(found) == ["samples", *downloads.registry()]
    assert (found.pop("samples") / "astronaut.png").is_file()
    assert set(found.values()) == {None}


def test_an_unfinished_download_is_passed_over(machine):
    picture(machine["data"] / "Set5" / "a.png")
    (machine["data"] / "Set5" / downloads.INCOMPLETE).touch()
    with pytest.raises(FileNotFoundError, match="Set5 is not on this machine"):
        data.images("Set5")
    assert data.available()["Set5"] is None
    whole = picture(machine["cache"] / "Set5" / "a.png")
    assert data.paths("Set5") == [whole]


def test_a_dataset_that_is_not_here_says_how_to_get_it(machine):
    sentence = "Set14 is not on this machine: run `dasr data get Set14`, or set DASR_DATA"
    with pytest.raises(FileNotFoundError) as caught:
        data.images("Set14")
    assert str(caught.value) == sentence


@pytest.mark.parametrize(
    ("name", "near"), [("set41", "Set14"), ("sample", "samples"), ("BSD400", "BSDS400")]
)
def test_an_unknown_name_is_answered_with_the_nearest(machine, name, near):
    with pytest.raises(ValueError, match=f"'{name}': did you mean '{near}'.*path to a folder"):
        data.images(name)


def test_a_folder_is_read_sorted_by_file_name_and_only_its_pictures(tmp_path):
    for name in ("b.PNG", "a.jpg", "10.bmp", "9.tif", ".hidden.png", "deeper/c.png"):
        picture(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no picture")
    assert [name for name, _ in data.images(tmp_path)] == ["10", "9", "a", "b"]
    assert [path.name for path in data.paths(str(tmp_path))] == [
        "10.bmp",
        "9.tif",
        "a.jpg",
        "b.PNG",
    ]


def test_a_folder_may_mix_kinds_and_sizes(tmp_path):
    rgb = np.random.default_rng(0).integers(0, 256, (30, 21, 3), dtype=np.uint8)
    Image.fromarray(rgb).save(tmp_path / "a.jpg")
    Image.fromarray(rgb[:9, :, 0]).save(tmp_path / "grey.png")
    Image.fromarray(rgb[:, :7, 0].astype(np.uint16) * 257).save(tmp_path / "deep.tiff")
    Image.fromarray(np.dstack([rgb, rgb[..., 0]])).save(tmp_path / "transparent.webp")
    Image.fromarray(rgb).convert("P").save(tmp_path / "palette.bmp")
    sizes = {name: tuple(image.shape) for name, image in data.images(tmp_path)}
    assert sizes == {
        "a": (3, 30, 21),
        "grey": (3, 9, 21),
        "deep": (3, 30, 7),
        "transparent": (3, 30, 21),
        "palette": (3, 30, 21),
    }


@pytest.mark.parametrize(
    "read", [data.images, lambda folder: data.training_images([folder], 1)], ids=["all", "training"]
)
def test_all_files_that_are_no_pictures_are_named_at_once(tmp_path, read):
    for name in "abcdef":
        picture(tmp_path / f"{name}.png")
    (tmp_path / "b.png").write_text("Dear reader,")
    with pytest.raises(ValueError, match=r"^\S*b\.png cannot be read as a picture"):
        read(tmp_path)
    (tmp_path / "f.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"2 files of .* \(b\.png, f\.png\): repair or remove"):
        read(tmp_path)


def test_a_folder_without_pictures_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no pictures in .*expected files ending in \.bmp"):
        data.images(tmp_path)


@pytest.mark.parametrize(
    ("count", "held_out", "chosen"),
    [
        (400, 20, list(range(19, 400, 20))),
        (9, 20, [3, 7]),
        (10, 2, [4, 9]),
        (3, 20, [2]),
        (3, 0, []),
        (800, 3, [265, 531, 797]),
    ],
)
def test_a_split_is_even_and_loses_nothing(count, held_out, chosen):
    train, held = data.split(range(count), held_out)
    assert held == chosen
    assert train == [item for item in range(count) if item not in chosen]


@pytest.mark.parametrize(("count", "held_out"), [(1, 1), (10, -1), (0, 20)])
def test_a_split_of_too_few_is_refused(count, held_out):
    with pytest.raises(ValueError, match=f"cannot hold out {held_out} of {count} images"):
        data.split(range(count), held_out)


@pytest.mark.parametrize(
    ("name", "count"), [("Set5", 5), ("Set14", 14), ("B100", 100), ("RealSRSet", 20)]
)
def test_the_real_datasets_can_be_read(dasr_data, name, count):
    if not (dasr_data / name).is_dir():
        pytest.skip(f"{name} is not under DASR_DATA")
    found = data.paths(name)
    assert len(found) == count
    for _, image in data.images(name, limit=14):
        assert image.shape[0] == 3
        assert image.dtype == torch.float32
        assert image.min() >= 0
        assert image.max() <= 1


def test_bsds400_splits_into_380_and_20(dasr_data):
    if not (dasr_data / "BSDS400").is_dir():
        pytest.skip("BSDS400 is not under DASR_DATA")
    train, held = data.training_images(["BSDS400"], 20)
    assert (len(train), len(held)) == (380, 20)
    assert held[0][0] == "105053"
    assert not {name for name, _ in train} & {name for name, _ in held}
    assert {tuple(image.shape) for _, image in train + held} == {(3, 321, 481), (3, 481, 321)}


def test_pictures_are_held_out_of_the_first_dataset_alone(tmp_path):
    for name, count in (("one", 8), ("two", 4)):
        for i in range(count):
            picture(tmp_path / name / f"{name}{i}.png")
    train, held_out = data.training_images([tmp_path / "one", tmp_path / "two"], 2)
    assert [name for name, _ in held_out] == ["one3", "one7"]
    assert len(train) == 10
    assert {name for name, _ in train}.isdisjoint({"one3", "one7"})
