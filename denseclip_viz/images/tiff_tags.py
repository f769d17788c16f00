"""What the tags of a TIFF say of its numbers and Pillow does not heed: such files are refused."""

from collections.abc import Callable, Mapping
from typing import Any

from denseclip_viz.errors import ImageError

_TAGS = {
    "kind": 254, "bits": 258, "compression": 259, "photometric": 262, "fill": 266, "samples": 277, "largest": 281,
    "planes": 284, "palette": 320, "inks": 332, "dots": 336, "extra": 338, "format": 339, "largest_of_type": 341,
    "luma": 529, "subsampling": 530, "black_white": 532,
}  # fmt: skip
_INVERTED, _RGB, _PALETTE, _CMYK, _YCBCR = 0, 2, 3, 5, 6
_UNCOMPRESSED, _OLD_JPEG = 1, 6
_SIGNED, _FLOAT = 2, 3
_HALF_OF_16_BITS = 2**15


class Page:
    """The tags of a page by their names, as tuples of numbers."""

    def __init__(self, tags: Mapping[int, Any]) -> None:
        self._tags = tags

    def all(self, name: str, otherwise: tuple[float, ...] = ()) -> tuple[float, ...]:
        """Return all the numbers of a tag, or the others where it is not there."""
        value = self._tags.get(_TAGS[name], otherwise)
        return tuple(map(float, value if isinstance(value, tuple) else (value,)))

    def most(self, name: str, otherwise: float) -> float:
        """Return the largest number of a tag: most have one, or the same for each sample."""
        return max(self.all(name), default=otherwise)

    def is_kind(self, photometric: int) -> bool:
        """Say whether its numbers are of this kind."""
        return self.all("photometric") == (photometric,)

    @property
    def bits(self) -> float:
        """How many bits the widest sample has."""
        return self.most("bits", 1)

    @property
    def is_inverted(self) -> bool:
        """Whether zero is white."""
        return self.is_kind(_INVERTED)

    @property
    def is_big_endian(self) -> bool:
        """Whether the first byte of a number is the largest."""
        return getattr(self._tags, "prefix", b"II") == b"MM"

    @property
    def is_compressed(self) -> bool:
        """Whether the numbers are packed, and so come from libtiff, in the order of this machine."""
        return self.most("compression", 1) != _UNCOMPRESSED

    @property
    def is_float(self) -> bool:
        """Whether the numbers are floats."""
        return self.most("format", 1) == _FLOAT

    def differs(self, name: str, *usual: float) -> bool:
        """Say whether a tag says something else than what is usual."""
        return any(abs(a - b) > 1e-3 for a, b in zip(self.all(name, usual), usual, strict=False))


def _has_turned_floats(page: Page) -> bool:
    return page.is_float and page.is_compressed and page.is_big_endian


def _has_no_kind(page: Page) -> bool:
    return not page.all("photometric") and page.most("compression", 1) != _OLD_JPEG


def _has_another_range(page: Page) -> bool:
    """Whether a float's white is above 1, or the uppermost of 16 bits is never used."""
    largest = (*page.all("largest"), *page.all("largest_of_type"))
    if page.is_float:
        return max(largest, default=1.0) > 1
    return page.bits == 16 and min(largest, default=65535.0) < _HALF_OF_16_BITS


def _has_odd_planes(page: Page) -> bool:
    if page.most("planes", 1) != 2 or page.most("samples", 1) == 1:
        return False
    return page.bits > 8 or page.most("fill", 1) == 2 or not (page.is_kind(_RGB) or page.is_kind(_CMYK))


def _has_a_nameless_channel(page: Page) -> bool:
    return page.is_kind(_RGB) and page.most("samples", 1) > 3 and not page.all("extra")


def _has_other_inks(page: Page) -> bool:
    return page.is_kind(_CMYK) and (page.most("inks", 1) != 1 or page.differs("dots", 0, 2**page.bits - 1))


def _has_other_ycbcr(page: Page) -> bool:
    other = page.differs("luma", 0.299, 0.587, 0.114) or page.differs("black_white", 0, 255, 128, 255, 128, 255)
    return page.is_kind(_YCBCR) and other


def _is_subsampled(page: Page) -> bool:
    return page.is_kind(_YCBCR) and not page.is_compressed and page.all("subsampling", (2, 2)) != (1, 1)


# What is said of the file, and when.
REFUSED: dict[str, Callable[[Page], bool]] = {
    "begins with a preview or a mask, as raw files of cameras do": lambda page: int(page.most("kind", 0)) & 0b101 != 0,
    "does not say what its numbers are (no PhotometricInterpretation)": _has_no_kind,
    "holds signed numbers": lambda page: page.most("format", 1) == _SIGNED,
    "holds whole numbers of 32 bits": lambda page: page.bits == 32 and not page.is_float,
    "holds floats whose zero is white": lambda page: page.is_inverted and page.is_float,
    "holds compressed floats, the largest byte first": _has_turned_floats,
    "says that its numbers have another range than its bits (MaxSampleValue)": _has_another_range,
    "keeps its channels apart in another form than bytes of RGB or CMYK": _has_odd_planes,
    "has a fourth channel that may be alpha or not": _has_a_nameless_channel,
    "has a palette of 8 bits where 16 are due": lambda p: p.is_kind(_PALETTE) and 0 < p.most("palette", 0) < 256,
    "holds other inks than CMYK of full range": _has_other_inks,
    "holds YCbCr of another matrix or range than a JPEG's": _has_other_ycbcr,
    "holds uncompressed YCbCr of fewer colours than pixels": _is_subsampled,
}


def check_page(page: Page, name: str) -> None:
    """Refuse a TIFF whose numbers mean something else than what Pillow takes them for.

    Raises:
        ImageError: It is one of those in the table above.
    """
    for what, applies in REFUSED.items():
        if applies(page):
            fix = "Open it in an image editor and save it as PNG."
            raise ImageError(f"{name} {what}", expected="a TIFF whose colours are certain", fix=fix)
