"""Pictures in and out: datasets and folders, single files, crops, verified downloads (§4.1)."""

from dasrlib.data.crops import centre_crop, crop_to_multiple
from dasrlib.data.datasets import (
    Pictures,
    available,
    images,
    paths,
    search_folders,
    split,
    training_images,
)
from dasrlib.data.image_files import load_image, load_image_uint8, save_image
from dasrlib.data.picture import Picture, to_float, to_uint8
from dasrlib.data.picture_reading import read_header, read_picture
from dasrlib.data.picture_writing import check_format, fit_to_format, rows_to, write_picture

__all__ = [
    "Picture",
    "Pictures",
    "available",
    "centre_crop",
    "check_format",
    "crop_to_multiple",
    "fit_to_format",
    "images",
    "load_image",
    "load_image_uint8",
    "paths",
    "read_header",
    "read_picture",
    "rows_to",
    "save_image",
    "search_folders",
    "split",
    "to_float",
    "to_uint8",
    "training_images",
    "write_picture",
]
