"""§4.1: pairs of patches, cut, flipped and turned, are pieces of their pictures."""

from __future__ import annotations

import pytest
import torch

from dasrlib import data
from dasrlib.training.patches import PatchPairs


def places(h: int = 20, w: int = 23) -> torch.Tensor:
    """A picture whose red is the row and whose green the column of each pixel."""
    rows = torch.arange(h)[:, None].expand(h, w)
    columns = torch.arange(w)[None].expand(h, w)
    return torch.stack([rows, columns, torch.full((h, w), 77)]) / 255


def test_both_patches_come_from_one_picture():
    marked = [(f"{i}", torch.full((3, 18, 22), 0.2) + i / 10) for i in range(5)]
    pairs = PatchPairs(marked, 12).sample(200, torch.Generator().manual_seed(0))
    assert pairs.shape == (200, 2, 3, 12, 12)
    values = pairs.flatten(2)
    assert (values == values[:, :1, :1]).all()
    drawn = values[:, 0, 0].unique(return_counts=True)[1]
    assert len(drawn) == 5
    assert drawn.min() > 20  # of 40 ± 6: every picture has its turn, none is preferred
    assert drawn.max() < 65


def test_all_eight_turns_occur_and_a_pair_has_one():
    image = places()
    pairs = PatchPairs([("places", image)], 8).sample(300, torch.Generator().manual_seed(0))
    counts: dict[tuple[int, ...], int] = {}
    for pair in (pairs * 255).round().int():
        turns = []
        for patch in pair:
            rows, columns, blue = patch
            # Where the rows and the columns of the picture run in the patch: its turn.
            turns.append(
                tuple(
                    int(step)
                    for plane in (rows, columns)
                    for step in (plane[1, 0] - plane[0, 0], plane[0, 1] - plane[0, 0])
                )
            )
            # A whole piece of the picture, nothing but turned.
            assert rows.unique().tolist() == list(range(int(rows.min()), int(rows.min()) + 8))
            assert columns.unique().tolist() == list(
                range(int(columns.min()), int(columns.min()) + 8)
            )
            assert (blue == 77).all()
        assert turns[0] == turns[1]
        counts[turns[0]] = counts.get(turns[0], 0) + 1
    assert len(counts) == 8
    assert min(counts.values()) > 15  # of 37.5 ± 6


def test_patches_come_from_everywhere():
    pairs = PatchPairs([("places", places(10, 9))], 8).sample(100, torch.Generator().manual_seed(0))
    rows, columns = (pairs * 255).round()[:, :, 0], (pairs * 255).round()[:, :, 1]
    corners = torch.stack([rows.amin((-2, -1)), columns.amin((-2, -1))], -1)
    assert {tuple(c) for c in corners.flatten(0, 1).tolist()} == {
        (top, left) for top in (0, 1, 2) for left in (0, 1)
    }
    assert (corners[:, 0] != corners[:, 1]).any()  # the two places are drawn apart


def test_same_seed_same_patches():
    pairs = PatchPairs([("places", places())], 8)

    def drawn(seed: int) -> torch.Tensor:
        return pairs.sample(4, torch.Generator().manual_seed(seed))

    assert torch.equal(drawn(1), drawn(1))
    assert not torch.equal(drawn(1), drawn(2))


def test_a_picture_smaller_than_a_patch_is_skipped_and_named():
    pictures = [("large", places()), ("narrow", places(20, 15))]
    said = r"1 of 2 pictures are skipped: .* than 16×16 pixels, a patch \(narrow of 20×15\)"
    with pytest.warns(UserWarning, match=said):
        kept = PatchPairs(pictures, 16)
    assert torch.equal(kept.pixels, PatchPairs(pictures[:1], 16).pixels)
    with pytest.raises(ValueError, match=r"all 1 pictures are smaller .*--patch"):
        PatchPairs(pictures[1:], 16)
    PatchPairs([("exact", places(16, 16))], 16).sample(2)
    with pytest.raises(ValueError, match="no pictures"):
        PatchPairs([], 16)


def cut_one_by_one(
    pictures: list[torch.Tensor], patch: int, batch: int, generator: torch.Generator
) -> torch.Tensor:
    """The definition: what PatchPairs.sample gathers at once, picture by picture."""
    chosen = torch.randint(len(pictures), (batch,), generator=generator)
    places = torch.rand(batch, 2, 2, generator=generator)
    turns = torch.randint(8, (batch,), generator=generator)
    out = torch.empty(batch, 2, 3, patch, patch)
    for i in range(batch):
        picture = pictures[int(chosen[i])]
        room = torch.tensor([picture.shape[-2] - patch + 1, picture.shape[-1] - patch + 1])
        for j, (top, left) in enumerate((places[i] * room).long().tolist()):
            cut = picture[:, top : top + patch, left : left + patch].rot90(
                int(turns[i]) % 4, (1, 2)
            )
            out[i, j] = cut.flip(-1) if turns[i] >= 4 else cut
    return out


def random_pictures() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    sizes = [(20, 31), (40, 17), (12, 12), (13, 50)]
    return [torch.randint(256, (3, *s), generator=generator) / 255 for s in sizes]


@pytest.mark.parametrize("patch", [1, 7, 12])
@pytest.mark.parametrize("seed", range(3))
def test_one_gather_is_cutting_one_by_one(seed, patch):
    pictures = random_pictures()
    pairs = PatchPairs([("", picture) for picture in pictures], patch)
    got = pairs.sample(40, torch.Generator().manual_seed(seed))
    expected = cut_one_by_one(pictures, patch, 40, torch.Generator().manual_seed(seed))
    assert torch.equal(got, expected)


def test_bytes_are_as_good_as_floats(tmp_path):
    pictures = random_pictures()
    for i, picture in enumerate(pictures):
        data.save_image(picture, tmp_path / f"{i}.png")
    files = sorted(tmp_path.iterdir())
    assert all(data.load_image_uint8(file).dtype == torch.uint8 for file in files)
    from_bytes = PatchPairs([("", data.load_image_uint8(file)) for file in files], 12)
    from_floats = PatchPairs([("", picture) for picture in pictures], 12)
    assert from_bytes.pixels.dtype == from_floats.pixels.dtype == torch.uint8
    drawn = [p.sample(9, torch.Generator().manual_seed(1)) for p in (from_bytes, from_floats)]
    assert torch.equal(*drawn)


def test_pictures_lie_on_the_gpu_where_half_of_its_memory_holds_them(monkeypatch):
    pairs = PatchPairs([("", picture) for picture in random_pictures()], 12)
    assert pairs.pixels.device.type == "cpu"
    pairs.device = torch.device("cuda")
    size = torch.tensor([600, 400])
    for free, expected in ((2000, "cuda"), (1999, "cpu")):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device, free=free: (free, 10**9))
        assert pairs._storage_device(size).type == expected


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("fits", [True, False])
def test_a_gpu_gets_the_same_patches_and_is_not_waited_for(monkeypatch, fits):
    pictures = [("", picture) for picture in random_pictures()]
    expected = PatchPairs(pictures, 12).sample(40, torch.Generator().manual_seed(0))
    if not fits:
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (0, 10**9))
    pairs = PatchPairs(pictures, 12, "cuda")
    assert pairs.pixels.is_cuda == fits
    torch.cuda.set_sync_debug_mode("error")
    try:
        got = pairs.sample(40, torch.Generator().manual_seed(0))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert got.is_cuda
    assert torch.equal(got.cpu(), expected)
