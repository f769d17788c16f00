"""Pictures from files, PIL images, arrays and scenes: RGB, upright and whole, or an error that names them."""

from __future__ import annotations

import io
import os
import re
import stat
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol, Union

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from denseclip_viz.decoding import decoded, from_array, is_layout, naming, short_name
from denseclip_viz.errors import PictureError


class HasPicture(Protocol):
    """Anything that carries its picture along, such as a Scene of the bundled world."""

    @property
    def picture(self) -> object:
        """A path, a PIL image or an array."""


PictureLike = Union[str, "os.PathLike[str]", Image.Image, NDArray[Any], HasPicture]

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:(//|[a-z]+/[^/\\]*[;,])")


def read(picture: PictureLike) -> Image.Image:
    """Reads one picture as RGB, 8 bits, upright, fully in memory and without its metadata.

    16-bit gray is scaled from 0..65535, not clipped; of a phone's multi-picture JPEG (MPO) the first counts.

    Args:
        picture: Path, PIL image, array (row, column) or (row, column, channel) with 1, 3 or 4 channels, of
            whole numbers 0..255 or floats 0..1, or an object whose `picture` is one of these.

    Returns:
        A new image, picture size (height, width); what came in stays as it was.

    Raises:
        PictureError: It is missing, empty, broken, truncated, animated, too large, or not a picture.

    Warns:
        UserWarning: It is transparent somewhere and was drawn over white.

    Example:
        >>> read(np.zeros((2, 3), np.uint8)).size
        (3, 2)
    """
    source = _unwrapped(picture)
    name = _name(source)
    if isinstance(source, (str, os.PathLike)):
        image = _from_file(source, name)
    elif isinstance(source, Image.Image):
        image = decoded(source, name)
    elif isinstance(source, np.ndarray):
        image = from_array(source, name)
    else:
        fix = "Pass one of these; bytes and open files go through PIL.Image.open first."
        raise PictureError(f"The picture is {name}", expected="a path, PIL image or NumPy array", fix=fix)
    if image.mode == "RGBA":
        warnings.warn(f"{name} is transparent in places: drawn over white.", UserWarning, stacklevel=2)
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    image.info = {}  # a kept EXIF orientation would turn the upright picture again
    return image


def readable(
    pictures: Iterable[PictureLike], unreadable: Callable[[PictureLike, PictureError], object] | None = None
) -> Iterator[tuple[PictureLike, Image.Image]]:
    """Reads pictures one after the other, each when its turn comes; gives each as it came and as `read` gives it.

    Args:
        pictures: As for `read`.
        unreadable: Called with a picture that cannot be read and its error, and it is left out; by default the
            error is raised.

    Raises:
        PictureError: As for `read`.

    Example:
        >>> [image.size for _, image in readable(["nothing.png", np.zeros((2, 3), np.uint8)], lambda *_: None)]
        [(3, 2)]
    """
    for picture in pictures:
        try:
            image = read(picture)
        except PictureError as error:
            if unreadable is None:
                raise
            unreadable(picture, error)
        else:
            yield picture, image


def from_bytes(content: bytes, *, name: str) -> Image.Image:
    """Reads a picture out of the bytes of its file, as `read` does, and keeps its name for titles.

    Args:
        content: The whole file.
        name: The file's name.

    Returns:
        A new image, upright, RGB, or RGBA where it is transparent.

    Raises:
        PictureError: As for `read`.

    Example:
        >>> from_bytes(b"", name="cat.jpg")
        Traceback (most recent call last):
        denseclip_viz.errors.PictureError: cat.jpg is empty (0 bytes). Expected a picture file. Copy it again.
    """
    shown = short_name(name)
    if not content:
        raise PictureError(f"{shown} is empty (0 bytes)", expected="a picture file", fix="Copy it again.")
    with naming(shown), Image.open(io.BytesIO(content)) as opened:
        image: Any = decoded(opened, shown)
    image.filename = name  # where `describe` looks
    return image  # type: ignore[no-any-return]


def display(picture: Image.Image, *, longest: int = 1024) -> NDArray[np.uint8]:
    """A copy of a picture for figures, shrunk where it is longer than `longest` pixels.

    Returns:
        uint8 (row, column, rgb).

    Raises:
        PictureError: `longest` is not a whole number of at least 1.

    Example:
        >>> display(Image.new("RGB", (2000, 1000)), longest=500).shape
        (250, 500, 3)
    """
    if isinstance(longest, bool) or not isinstance(longest, int) or longest < 1:
        fix = "Pass for example longest=1024."
        raise PictureError(f"longest={longest!r}", expected="a whole number of pixels, at least 1", fix=fix)
    scale = min(1.0, longest / max(picture.size))
    width, height = (max(1, round(side * scale)) for side in picture.size)
    rgb = picture.convert("RGB")
    if rgb.size != (width, height):
        rgb = rgb.resize((width, height), Image.Resampling.LANCZOS)
    return np.array(rgb, dtype=np.uint8)


def describe(picture: object) -> str:
    """A short name for messages and titles: the file's name, or the kind and size (height x width).

    Example:
        >>> describe(Path("holiday/cat.jpg")), describe(np.zeros((480, 640, 3)))
        ('cat.jpg', 'array 480 x 640')
    """
    source = _unwrapped(picture)
    path = getattr(source, "filename", None) if isinstance(source, Image.Image) else source
    if isinstance(path, (str, os.PathLike)) and (name := Path(os.fsdecode(path)).name):
        return short_name(name)
    said = _name(source)
    return said if source is picture else said.replace("array", type(picture).__name__.lower(), 1)


def _unwrapped(picture: object) -> object:
    direct = isinstance(picture, (str, os.PathLike, Image.Image, np.ndarray))
    return picture if direct else getattr(picture, "picture", picture)


def _name(picture: object) -> str:
    if isinstance(picture, (str, os.PathLike)):
        return short_name(os.fspath(picture))
    if isinstance(picture, Image.Image):
        return f"picture {picture.height} x {picture.width}"
    if isinstance(picture, np.ndarray):
        shape = picture.shape[:2] if is_layout(picture.shape) else picture.shape
        return f"array {' x '.join(map(str, shape))}"
    return "None" if picture is None else f"an object of type {type(picture).__name__}"


def _from_file(source: str | os.PathLike[str], name: str) -> Image.Image:
    path = os.fspath(source)
    if not isinstance(path, str) or not path:
        raise PictureError(f"The path is {path!r}", expected="a path as text", fix="Pass a file's path.")
    if _URL.match(path):
        fix = "Download it first, then pass the file's path."
        raise PictureError(f"{name} is a URL", expected="a file on this machine", fix=fix)
    try:
        status = os.stat(path)
    except FileNotFoundError:
        raise PictureError(f"{name} does not exist", expected="a file", fix="Check the path.") from None
    except (OSError, ValueError) as error:
        came = f"{name} cannot be opened ({getattr(error, 'strerror', None) or error})"
        raise PictureError(came, expected="a picture file", fix="Check the path.") from error
    if stat.S_ISDIR(status.st_mode):
        raise PictureError(f"{name} is a folder", expected="one picture file", fix="Pass a file in it.")
    if not stat.S_ISREG(status.st_mode):
        fix = "Save the picture as a file first."
        raise PictureError(f"{name} is a pipe or a device", expected="an ordinary file", fix=fix)
    if status.st_size == 0:
        raise PictureError(f"{name} is empty (0 bytes)", expected="a picture file", fix="Copy it again.")
    with naming(name), Image.open(path) as image:
        return decoded(image, name)
