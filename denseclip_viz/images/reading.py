"""Reads an image that came in one of many forms, and names it in messages and titles."""

import io
import os
import re
import stat
import warnings
from pathlib import Path
from typing import Any, Protocol, Union

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from denseclip_viz.errors import ImageError
from denseclip_viz.images.decoding import check_size, decoded, naming, opened, plain, to_bytes
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

    16-bit gray is scaled from 0..65535, not clipped; of a phone's multi-image JPEG (MPO) the first counts. Colour
    profiles and gamma are not applied, as in CLIP's own training. An array is (row, column) or (row, column, channel)
    with 1, 3 or 4 channels, of whole numbers 0..255 or floats 0..1. Reading takes up to 10 bytes of memory a pixel.

    Raises:
        ImageError: It is missing, empty, broken, truncated, animated, too large, not an image, or a file whose numbers
            may mean something else than what Pillow takes them for (see `tiff_tags`).

    Warns:
        UserWarning: It is transparent somewhere and was drawn over white.

    Example:
        >>> read(np.zeros((2, 3), np.uint8)).size
        (3, 2)
    """
    upright, remark = read_remarked(image)
    if remark:
        warnings.warn(remark, UserWarning, stacklevel=2)
    return upright


def read_remarked(image: ImageLike) -> tuple[Image.Image, str]:
    """Read an image as `read` does, and give what it warns of, or nothing: a thread of its own says it to nobody.

    Example:
        >>> read_remarked(np.zeros((2, 3), np.uint8))[1]
        ''
    """
    source, remark = unwrapped(image), ""
    name = _name(source)
    if isinstance(source, (str, os.PathLike)):
        upright = _from_file(source, name)
    elif isinstance(source, Image.Image):
        upright = decoded(source, name)
    elif isinstance(source, np.ndarray):
        upright = _from_array(source, name)
    else:
        raise ImageError(f"The image is {name}", expected="a path, PIL image or NumPy array", fix=_way_in(source))
    if upright.mode == "RGBA":
        remark = f"{name} is transparent in places: drawn over white."
        white = Image.new("RGB", upright.size, "white")
        white.paste(upright, mask=upright)
        upright = white
    return upright, remark


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
    with naming(shown), opened(io.BytesIO(content)) as file:
        image: Any = decoded(file, shown)
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
    source = unwrapped(image)
    path = getattr(source, "filename", None) if isinstance(source, Image.Image) else source
    if isinstance(path, (str, os.PathLike)) and (name := Path(os.fsdecode(path)).name):
        return short_name(name)
    kind = _name(source)
    return kind if source is image else kind.replace("array", type(image).__name__.lower(), 1)


def unwrapped(image: object) -> object:
    """Give the image that something carries along, or itself where it carries none.

    Example:
        >>> unwrapped("cat.jpg")
        'cat.jpg'
    """
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
    if _is_tensor(image):
        return f"a tensor of shape {tuple(getattr(image, 'shape', ()))}"
    return "None" if image is None else f"an object of type {type(image).__name__}"


def _is_tensor(image: object) -> bool:
    """Say whether this is a tensor of torch, without torch."""
    return hasattr(image, "permute") and hasattr(image, "numpy")


def _way_in(image: object) -> str:
    """Say how to make an image of what is none."""
    if not _is_tensor(image):
        return "Pass one of these; bytes and open files go through PIL.Image.open first."
    one = "tensor[0]" if len(getattr(image, "shape", ())) == 4 else "tensor"
    return (
        f"Pass {one}.permute(1, 2, 0).cpu().numpy() where it holds 0..1 or 0..255; pixels that a transform has"
        " normalised go to model.encode_image."
    )


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
    with naming(name), opened(path) as image:
        return decoded(image, name)


def _from_array(array: NDArray[Any], name: str) -> Image.Image:
    """Make an image of an array (row, column) or (row, column, channel); an ImageError of anything else."""
    if isinstance(array, np.ma.MaskedArray):
        got, fix = f"{name} is a masked array", "Say what stands under the mask: array.filled(0)."
        raise ImageError(got, expected="an array whose every value counts", fix=fix)
    if not _is_layout(array.shape):
        fix = "Pass one image, for example array[0] of a batch."
        if array.ndim == 3 and array.shape[0] in (1, 3, 4):
            fix = "Put the channels last: array.transpose(1, 2, 0)."
        expected = "axes (row, column) or (row, column, channel) with 1, 3 or 4 channels"
        raise ImageError(f"The {name} has axes {array.shape}", expected=expected, fix=fix)
    check_size(array.shape[0], array.shape[1], name)
    values = np.ascontiguousarray(to_bytes(array, name))
    return plain(Image.fromarray(values[..., 0] if values.shape[2:] == (1,) else values))


def _is_layout(shape: tuple[int, ...]) -> bool:
    """Say whether an array of this shape may be one image."""
    return len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 3, 4))
