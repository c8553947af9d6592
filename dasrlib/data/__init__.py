"""Pictures in and out: samples, datasets, folders, single files; verified downloads."""

from dasrlib.data.images import (
    FORMATS,
    SAMPLES,
    SAVE_OPTIONS,
    Pictures,
    available,
    centre_crop,
    check_format,
    images,
    load_bytes,
    load_image,
    paths,
    root,
    save_image,
    split,
    to_bytes,
    training_split,
)

__all__ = [
    "FORMATS",
    "SAMPLES",
    "SAVE_OPTIONS",
    "Pictures",
    "available",
    "centre_crop",
    "check_format",
    "images",
    "load_bytes",
    "load_image",
    "paths",
    "root",
    "save_image",
    "split",
    "to_bytes",
    "training_split",
]
