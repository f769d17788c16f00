"""Images from files, PIL images, arrays and scenes: RGB, upright and whole, or an error that names them."""

import io
import os
import re
import stat
import struct
import warnings
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, Union

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

from denseclip_viz.errors import ImageError
from denseclip_viz.validation import is_whole, short_name


class HasImage(Protocol):
    """Anything that carries its image along, such as a Scene of the bundled world."""

    @property
    def image(self) -> object:
        """A path, a PIL image or an array."""


ImageLike = Union[str, "os.PathLike[str]", Image.Image, NDArray[Any], HasImage]

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:(//|[a-z]+/[^/\\]*[;,])")


def read(image: ImageLike) -> Image.Image:
    """Read one image as a new one: RGB, 8 bits, upright, fully in memory and without its metadata.

    16-bit gray is scaled from 0..65535, not clipped; of a phone's multi-image JPEG (MPO) the first counts. An array is
    (row, column) or (row, column, channel) with 1, 3 or 4 channels, of whole numbers 0..255 or floats 0..1.

    Raises:
        ImageError: It is missing, empty, broken, truncated, animated, too large, or not an image.

    Warns:
        UserWarning: It is transparent somewhere and was drawn over white.

    Example:
        >>> read(np.zeros((2, 3), np.uint8)).size
        (3, 2)
    """
    source = _unwrapped(image)
    name = _name(source)
    if isinstance(source, (str, os.PathLike)):
        upright = _from_file(source, name)
    elif isinstance(source, Image.Image):
        upright = _decoded(source, name)
    elif isinstance(source, np.ndarray):
        upright = _from_array(source, name)
    else:
        fix = "Pass one of these; bytes and open files go through PIL.Image.open first."
        raise ImageError(f"The image is {name}", expected="a path, PIL image or NumPy array", fix=fix)
    if upright.mode == "RGBA":
        warnings.warn(f"{name} is transparent in places: drawn over white.", UserWarning, stacklevel=2)
        upright = Image.alpha_composite(Image.new("RGBA", upright.size, "white"), upright).convert("RGB")
    # a kept EXIF orientation would turn the upright image again; a comment tells a drawn scene from other images
    upright.info = {key: value for key, value in upright.info.items() if key == "comment"}
    return upright


def readable(
    images: Iterable[ImageLike], unreadable: Callable[[ImageLike, ImageError], object] | None = None
) -> Iterator[tuple[ImageLike, Image.Image]]:
    """Read images one after the other, each when its turn comes; give each as it came and as `read` gives it.

    `unreadable` is called with an image that cannot be read and its error, and it is left out; by default the error
    is raised.

    Example:
        >>> [upright.size for _, upright in readable(["nothing.png", np.zeros((2, 3), np.uint8)], lambda *_: None)]
        [(3, 2)]
    """
    for image in images:
        try:
            upright = read(image)
        except ImageError as error:
            if unreadable is None:
                raise
            unreadable(image, error)
        else:
            yield image, upright


def from_bytes(content: bytes, *, name: str) -> Image.Image:
    """Read an image out of the bytes of its file, as `read` does but RGBA where it is transparent; keep its name.

    Example:
        >>> from_bytes(b"", name="cat.jpg")
        Traceback (most recent call last):
        denseclip_viz.errors.ImageError: cat.jpg is empty (0 bytes). Expected an image file. Copy it again.
    """
    shown = short_name(name)
    if not content:
        raise ImageError(f"{shown} is empty (0 bytes)", expected="an image file", fix="Copy it again.")
    with naming(shown), Image.open(io.BytesIO(content)) as opened:
        image: Any = _decoded(opened, shown)
    image.filename = name  # where `describe` looks
    return image  # type: ignore[no-any-return]


def display(image: Image.Image, *, longest: int = 1024) -> NDArray[np.uint8]:
    """Copy an image for figures, (row, column, rgb), shrunk where it is longer than `longest` pixels.

    Example:
        >>> display(Image.new("RGB", (2000, 1000)), longest=500).shape
        (250, 500, 3)
    """
    if not is_whole(longest, 1):
        fix = "Pass for example longest=1024."
        raise ImageError(f"longest={longest!r}", expected="a whole number of pixels, at least 1", fix=fix)
    scale = min(1.0, longest / max(image.size))
    width, height = (max(1, round(side * scale)) for side in image.size)
    rgb = image.convert("RGB")
    if rgb.size != (width, height):
        rgb = rgb.resize((width, height), Image.Resampling.LANCZOS)
    return np.array(rgb, dtype=np.uint8)


def describe(image: object) -> str:
    """Make a short name for messages and titles: the file's name, or the kind and size (height x width).

    Example:
        >>> describe(Path("holiday/cat.jpg")), describe(np.zeros((480, 640, 3)))
        ('cat.jpg', 'array 480 x 640')
    """
    source = _unwrapped(image)
    path = getattr(source, "filename", None) if isinstance(source, Image.Image) else source
    if isinstance(path, (str, os.PathLike)) and (name := Path(os.fsdecode(path)).name):
        return short_name(name)
    kind = _name(source)
    return kind if source is image else kind.replace("array", type(image).__name__.lower(), 1)


def _unwrapped(image: object) -> object:
    direct = isinstance(image, (str, os.PathLike, Image.Image, np.ndarray))
    return image if direct else getattr(image, "image", image)


def _name(image: object) -> str:
    if isinstance(image, (str, os.PathLike)):
        return short_name(os.fspath(image))
    if isinstance(image, Image.Image):
        return f"image {image.height} x {image.width}"
    if isinstance(image, np.ndarray):
        shape = image.shape[:2] if _is_layout(image.shape) else image.shape
        return f"array {' x '.join(map(str, shape))}"
    return "None" if image is None else f"an object of type {type(image).__name__}"


def _from_file(source: str | os.PathLike[str], name: str) -> Image.Image:
    path = os.fspath(source)
    if not isinstance(path, str) or not path:
        raise ImageError(f"The path is {path!r}", expected="a path as text", fix="Pass a file's path.")
    if _URL.match(path):
        fix = "Download it first, then pass the file's path."
        raise ImageError(f"{name} is a URL", expected="a file on this machine", fix=fix)
    try:
        status = os.stat(path)
    except FileNotFoundError:
        raise ImageError(f"{name} does not exist", expected="a file", fix="Check the path.") from None
    except (OSError, ValueError) as error:
        got = f"{name} cannot be opened ({getattr(error, 'strerror', None) or error})"
        raise ImageError(got, expected="an image file", fix="Check the path.") from error
    if stat.S_ISDIR(status.st_mode):
        raise ImageError(f"{name} is a folder", expected="one image file", fix="Pass a file in it.")
    if not stat.S_ISREG(status.st_mode):
        fix = "Save the image as a file first."
        raise ImageError(f"{name} is a pipe or a device", expected="an ordinary file", fix=fix)
    if status.st_size == 0:
        raise ImageError(f"{name} is empty (0 bytes)", expected="an image file", fix="Copy it again.")
    with naming(name), Image.open(path) as image:
        return _decoded(image, name)


# What Pillow's decoders raise on broken bytes, some on purpose, some because a header lied to them.
_MEANT = (OSError, EOFError, SyntaxError, ValueError, RuntimeError, struct.error, zlib.error)
_LIED_TO = (TypeError, ArithmeticError, LookupError, AttributeError, AssertionError, MemoryError)
_SIXTEEN_BIT = ("I", "I;16", "I;16L", "I;16B", "I;16N")
# By the numbers of EXIF, from 2.
_TURNS = "FLIP_LEFT_RIGHT ROTATE_180 FLIP_TOP_BOTTOM TRANSPOSE ROTATE_270 TRANSVERSE ROTATE_90".split()


def _decoded(image: Image.Image, name: str) -> Image.Image:
    """Make a new upright image of 8 bits, RGB or RGBA; an ImageError where that would be a guess."""
    _check_size(image.height, image.width, name)
    with naming(name):
        frames = getattr(image, "n_frames", 1)
        if frames > 1 and image.format != "MPO":
            fix = f"Pick one (0 to {frames - 1}): PIL.Image.open it, image.seek(0), pass image.copy()."
            raise ImageError(f"{name} has {frames} frames or pages", expected="one still image", fix=fix)
        image.load()
        # after load(): TIFF turns itself there and forgets the tag
        turn = dict(enumerate(_TURNS, start=2)).get(image.getexif().get(ExifTags.Base.Orientation, 1))
        still = _plain(_eight_bit(image, name))
        return still.transpose(Image.Transpose[turn]) if turn else still


@contextmanager
def naming(name: str) -> Iterator[None]:
    """Make of Pillow's many exceptions, and its warning about huge images, one that names the image."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            yield
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise _too_large(name) from None
    except UnidentifiedImageError as error:
        fix = "Open it in an image editor and save it as PNG or JPEG."
        raise ImageError(f"{name} is not an image Pillow knows", expected="an image", fix=fix) from error
    except (*_MEANT, *_LIED_TO) as error:
        got = f"{name} is truncated or broken ({type(error).__name__}: {short_name(str(error))})"
        raise ImageError(got, expected="a whole image", fix="Copy or export it again.") from error


def _check_size(height: int, width: int, name: str) -> None:
    if height < 1 or width < 1:
        fix = "Check how it was cropped."
        raise ImageError(f"{name} has no pixels", expected="at least 1 x 1 pixels", fix=fix)
    if Image.MAX_IMAGE_PIXELS is not None and height * width > Image.MAX_IMAGE_PIXELS:
        raise _too_large(f"{name} ({height} x {width})")


def _too_large(name: str) -> ImageError:
    expected = f"at most {(Image.MAX_IMAGE_PIXELS or 0) / 1e6:.1f} million (PIL.Image.MAX_IMAGE_PIXELS)"
    return ImageError(f"{name} has too many pixels to decode", expected=expected, fix="Shrink it first.")


def _eight_bit(image: Image.Image, name: str) -> Image.Image:
    """Bring gray of 16 bits or floats to mode L, since Pillow's own conversion clips them; leave others as they are."""
    if image.mode == "F":
        return Image.fromarray(_bytes(np.asarray(image), name))
    if image.mode not in _SIXTEEN_BIT:
        return image
    values = np.asarray(image)
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > 65535 or (image.mode == "I" and 0 < high <= 255):
        got = f"{name} holds whole numbers of 32 bits from {low} to {high}"
        fix = "Say which it is: np.asarray(image).astype(np.uint8), or divide it to floats 0..1."
        raise ImageError(got, expected="16-bit gray, 0..65535 and above 255 somewhere", fix=fix)
    gray = Image.fromarray(((values.astype(np.uint32) + 128) // 257).astype(np.uint8))
    key = image.info.get("transparency")
    if isinstance(key, int):
        gray.putalpha(Image.fromarray(np.where(values == key, 0, 255).astype(np.uint8)))
    return gray


def _plain(image: Image.Image) -> Image.Image:
    """Return a new image: RGBA where anything is transparent, RGB otherwise."""
    if image.mode == "La":
        image = image.convert("LA")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        if np.asarray(rgba.getchannel("A")).min() < 255:
            return rgba
        image = rgba
    return image.convert("RGB")


def _from_array(array: NDArray[Any], name: str) -> Image.Image:
    """Make an image of an array (row, column) or (row, column, channel); an ImageError of anything else."""
    if not _is_layout(array.shape):
        fix = "Pass one image, for example array[0] of a batch."
        if array.ndim == 3 and array.shape[0] in (1, 3, 4):
            fix = "Put the channels last: array.transpose(1, 2, 0)."
        expected = "axes (row, column) or (row, column, channel) with 1, 3 or 4 channels"
        raise ImageError(f"The {name} has axes {array.shape}", expected=expected, fix=fix)
    _check_size(array.shape[0], array.shape[1], name)
    values = np.ascontiguousarray(_bytes(array, name))
    return _plain(Image.fromarray(values[..., 0] if values.shape[2:] == (1,) else values))


def _bytes(array: NDArray[Any], name: str) -> NDArray[np.uint8]:
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
        raise ImageError(f"{name} holds {array.dtype} from {low} to {high}", expected=expected, fix=fix)
    if floats:
        return np.rint(array.astype(np.float32) * 255).astype(np.uint8)
    return array.astype(np.uint8)


def _is_layout(shape: tuple[int, ...]) -> bool:
    """Say whether an array of this shape may be one image."""
    return len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 3, 4))
