"""Parts of a picture."""

import pytest
import torch

from dasrlib import data


def test_both_sides_become_multiples():
    image = torch.rand(3, 14, 15)
    assert torch.equal(data.crop_to_multiple(image, 4), image[:, :12, :12])
    assert torch.equal(data.crop_to_multiple(image, 1), image)


@pytest.mark.parametrize(
    ("size", "rows", "columns"),
    [
        (4, slice(5, 9), slice(5, 9)),  # of 14 rows 5 stay above and below, of 15 columns 5 and 6
        (5, slice(4, 9), slice(5, 10)),
        (15, slice(0, 14), slice(0, 15)),
        (14, slice(0, 14), slice(0, 14)),
        (99, slice(0, 14), slice(0, 15)),
    ],
)
def test_the_centre(size, rows, columns):
    image = torch.rand(2, 3, 14, 15)
    assert torch.equal(data.centre_crop(image, size), image[..., rows, columns])
