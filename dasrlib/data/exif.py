"""EXIF from one file to another: the rotation applied, what belongs to the old file left out."""

from __future__ import annotations

from PIL import ExifTags, Image

ROTATION = ExifTags.Base.Orientation
# The tags below 700 say how a file stores its pixels. Not so these: names, maker, model, software,
# resolution, date, artist.
DESCRIBING = frozenset([269, 270, 271, 272, 282, 283, 285, 296, 305, 306, 315, 316])
# A TIFF's records of other kinds: XMP, IPTC, Photoshop's, the colour profile, pixels on a map. They
# are no EXIF, and wrong for a picture of another size.
OTHER_RECORDS = frozenset(
    [700, 33550, 33723, 33922, 34264, 34377, 34675, 34735, 34736, 34737, 37724]
)
SRGB = 1  # of ColorSpace


def kept_exif(upright: Image.Image) -> bytes:
    """The EXIF of a picture that has been read and turned; empty for none.

    Raises what Pillow raises for broken EXIF, which may be almost anything.
    """
    exif = Image.Exif()
    if "exif" in upright.info:
        exif.load(upright.info["exif"])  # getexif is silent when it is asked again
    else:
        exif = upright.getexif()
    for tag in list(exif):
        if (tag < 700 and tag not in DESCRIBING) or tag in OTHER_RECORDS:
            del exif[tag]
    return exif.tobytes() if len(exif) else b""


def exif_of_size(kept: bytes, height: int, width: int) -> bytes:
    """The same EXIF for a new picture of this size, in the colours of sRGB."""
    if not kept:
        return b""
    exif = Image.Exif()
    exif.load(kept)
    details = exif.get_ifd(ExifTags.IFD.Exif)
    for tag, value in (
        (ExifTags.Base.ExifImageWidth, width),
        (ExifTags.Base.ExifImageHeight, height),
        (ExifTags.Base.ColorSpace, SRGB),
    ):
        if tag in details:
            details[tag] = value
    return exif.tobytes()
