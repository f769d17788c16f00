"""What Pillow opens, as 8 bits, upright, with the meaning that its file gives to its numbers."""

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

from denseclip_viz.errors import ImageError
from denseclip_viz.images.tiff_tags import Page, check_page
from denseclip_viz.validation import short_name

# Formats of pixels alone. Left out is what starts a program (EPS: Ghostscript; WMF: the system's renderer), hands its
# bytes to any other format (IPTC), or is a stub for somebody's own handler (HDF5, GRIB, BUFR); and what nobody uses.
# HEIF is there when a plugin such as pillow-heif has registered it. TGA is last: it has no signature.
FORMATS = "PNG JPEG MPO GIF WEBP TIFF BMP DIB PPM JPEG2000 AVIF HEIF ICO ICNS PCX SGI DDS QOI TGA".split()
_EXPECTED = "a PNG, JPEG, WebP, TIFF or another raster image"
_SAVE_IT = "Open it in an image editor and save it as PNG or JPEG."

# What Pillow's decoders raise on broken bytes, some on purpose, some because a header lied to them.
_MEANT = (OSError, EOFError, SyntaxError, ValueError, RuntimeError, struct.error, zlib.error)
_LIED_TO = (TypeError, ArithmeticError, LookupError, AttributeError, AssertionError, MemoryError)
BROKEN = (*_MEANT, *_LIED_TO)
_SIXTEEN_BIT = ("I", "I;16", "I;16L", "I;16B", "I;16N")
_PNG_LEVELS = {"L;2": 85, "L;4": 17}  # what one step of a PNG's 2 or 4 bits is in 0..255
# By the numbers of EXIF, from 2.
_TURNS = "FLIP_LEFT_RIGHT ROTATE_180 FLIP_TOP_BOTTOM TRANSPOSE ROTATE_270 TRANSVERSE ROTATE_90".split()


def opened(file: str | IO[bytes]) -> Image.Image:
    """Open an image file of one of the formats above, whatever its name says; within `naming`."""
    Image.init()
    return Image.open(file, formats=[known for known in FORMATS if known in Image.OPEN])


def decoded(image: Image.Image, name: str) -> Image.Image:
    """Make a new upright image of 8 bits, RGB or RGBA; an ImageError where that would be a guess."""
    check_size(image.height, image.width, name)
    if image.format not in (None, *FORMATS):
        raise ImageError(f"{name} is {image.format}", expected=_EXPECTED, fix=_SAVE_IT)
    with naming(name):
        if image.format == "TIFF":
            check_page(_page(image), name)
        frames = getattr(image, "n_frames", 1)
        if frames > 1 and image.format != "MPO":
            fix = f"Pick one (0 to {frames - 1}): PIL.Image.open it, image.seek(0), pass image.copy()."
            if image.format == "TIFF" and image.mode in _SIXTEEN_BIT:  # a copy loses what its numbers mean
                fix = "Save the page as a file of its own, with tiffsplit or an image editor."
            raise ImageError(f"{name} has {frames} frames or pages", expected="one still image", fix=fix)
        key = _colour_key(image, name)
        image.load()
        check_size(image.height, image.width, name)  # again: an icon is as large as the image in it
        # after load(): TIFF turns itself there and forgets the tag
        turn = dict(enumerate(_TURNS, start=2)).get(image.getexif().get(ExifTags.Base.Orientation, 1))
        still = plain(_eight_bit(image, name, key))
        upright = still.transpose(Image.Transpose[turn]) if turn else still
        # whoever reads it again would turn it again by its EXIF; a comment tells a drawn scene from other images
        upright.info = {key: value for key, value in upright.info.items() if key == "comment"}
        return upright


@contextmanager
def naming(name: str) -> Iterator[None]:
    """Make of Pillow's many exceptions one that names the image.

    Its warning about huge images is left alone: `check_size` refuses them, and filters of warnings are the whole
    process's, so no thread that reads may touch them.
    """
    try:
        yield
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise _too_large(name) from None
    except UnidentifiedImageError as error:
        raise ImageError(f"{name} is not an image that can be read", expected=_EXPECTED, fix=_SAVE_IT) from error
    except BROKEN as error:
        got = f"{name} is truncated or broken ({type(error).__name__}: {short_name(str(error))})"
        raise ImageError(got, expected="a whole image", fix="Copy or export it again.") from error


def check_size(height: int, width: int, name: str) -> None:
    """Refuse an image of no pixels, or of more than Pillow decodes."""
    if height < 1 or width < 1:
        fix = "Check how it was cropped."
        raise ImageError(f"{name} has no pixels", expected="at least 1 x 1 pixels", fix=fix)
    if Image.MAX_IMAGE_PIXELS is not None and height * width > Image.MAX_IMAGE_PIXELS:
        raise _too_large(f"{name} ({height} x {width})")


def _too_large(name: str) -> ImageError:
    expected = f"at most {(Image.MAX_IMAGE_PIXELS or 0) / 1e6:.1f} million (PIL.Image.MAX_IMAGE_PIXELS)"
    return ImageError(f"{name} has too many pixels to decode", expected=expected, fix="Shrink it first.")


def _colour_key(image: Image.Image, name: str) -> object:
    """Return the colour that is transparent, in the numbers that Pillow decodes to."""
    key, tile = image.info.get("transparency"), getattr(image, "tile", None)
    raw = tile[0][3] if image.format == "PNG" and tile else ""
    if image.format == "PNG" and not tile and _may_be_of_other_bits(image, key):
        got, fix = f"{name} marks a colour as transparent, and was loaded already", "Pass its path, or open it anew."
        raise ImageError(got, expected="a file, which says of how many bits that colour is", fix=fix)
    if raw == "RGB;16B" and key is not None:
        got, fix = f"{name} marks a colour of 16 bits as transparent", "Save it with an alpha channel."
        raise ImageError(got, expected="an alpha channel, or a colour of 8 bits", fix=fix)
    return key * _PNG_LEVELS.get(raw, 1) if isinstance(key, int) else key


def _may_be_of_other_bits(image: Image.Image, key: object) -> bool:
    """Tell whether a transparent colour may be in other numbers than the pixels, which a loaded image does not say."""
    if isinstance(key, tuple):
        return bool(max(key) > 255)
    is_low = image.mode == "L" and isinstance(key, int) and 0 < key < 16
    return is_low and not bool((np.asarray(image) % 17).any())


def _eight_bit(image: Image.Image, name: str, key: object) -> Image.Image:
    """Bring gray of 16 bits or floats to mode L, since Pillow's own conversion clips them; leave others as they are."""
    if image.mode == "F":
        return Image.fromarray(to_bytes(np.asarray(image), name))
    if image.mode not in _SIXTEEN_BIT:
        return _keyed(image, np.asarray(image), key) if image.mode == "L" and isinstance(key, int) else image
    values = np.asarray(image)
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > 65535 or (image.mode == "I" and 0 < high <= 255):
        got = f"{name} holds whole numbers of 32 bits from {low} to {high}"
        fix = "Bring it to 0..255 as 8 bits, or to 0..65535 as 16 bits."
        raise ImageError(got, expected="16-bit gray, 0..65535 and above 255 somewhere", fix=fix)
    return _keyed(Image.fromarray(_levels(image)[values]), values, key)


def _keyed(gray: Image.Image, values: NDArray[np.integer], key: object) -> Image.Image:
    """Make the pixels of one value transparent."""
    gray = gray.copy()
    gray.info.pop("transparency", None)
    if isinstance(key, int):
        gray.putalpha(Image.fromarray(np.where(values == key, 0, 255).astype(np.uint8)))
    return gray


def _levels(image: Image.Image) -> NDArray[np.uint8]:
    """Return what each 16-bit number is in 0..255: of 12 bits a TIFF has 0..4095, and it may have white as zero."""
    page = _page(image)
    most = 4095 if page.bits == 12 else 65535
    levels = np.rint(np.arange(65536).clip(max=most) * (255 / most)).astype(np.uint8)
    return 255 - levels if page.is_inverted else levels


def _page(image: Image.Image) -> Page:
    return Page(getattr(image, "tag_v2", {}) if image.format == "TIFF" else {})


def plain(image: Image.Image) -> Image.Image:
    """Return a new image: RGBA where anything is transparent, RGB otherwise."""
    if image.mode == "La":
        image = image.convert("LA")
    if image.has_transparency_data:
        rgba = image if image.mode == "RGBA" else image.convert("RGBA")
        if np.asarray(rgba.getchannel("A")).min() < 255:
            return rgba.copy() if rgba is image else rgba
        image = rgba
    return image.convert("RGB")


def to_bytes(array: NDArray[np.generic], name: str) -> NDArray[np.uint8]:
    """Take whole numbers 0..255 as they are, floats 0..1 scaled; refuse all else, and clip nothing."""
    expected = "whole numbers 0..255 or floats 0..1"
    if array.dtype.kind not in "uif":
        fix = "Convert it: array.astype(np.uint8), and times 255 for a mask."
        raise ImageError(f"{name} holds {array.dtype}", expected=expected, fix=fix)
    if not np.isfinite(array).all():
        raise ImageError(f"{name} holds NaN or infinity", expected=expected, fix="Replace these values.")
    low, high, floats = array.min(), array.max(), array.dtype.kind == "f"
    if low < 0 or high > (1 if floats else 255):
        fix = "Divide by 255." if floats and low >= 0 and high <= 255 else "Scale it to floats 0..1 first."
        if floats and low < 0:
            fix += " Pixels that a transform has normalised go to model.encode_image; here pass the image itself."
        raise ImageError(f"{name} holds {array.dtype} from {low} to {high}", expected=expected, fix=fix)
    if floats:
        return np.rint(array.astype(np.float32) * 255).astype(np.uint8)
    return array.astype(np.uint8)
