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
from dasrlib.data.image_files import (
    check_format,
    load_image,
    load_image_uint8,
    save_image,
    to_uint8,
)

__all__ = [
    "Pictures",
    "available",
    "centre_crop",
    "check_format",
    "crop_to_multiple",
    "images",
    "load_image",
    "load_image_uint8",
    "paths",
    "save_image",
    "search_folders",
    "split",
    "to_uint8",
    "training_images",
]
