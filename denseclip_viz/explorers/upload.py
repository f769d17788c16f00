"""An image chosen in the browser."""

import anywidget
import traitlets

from denseclip_viz.errors import ImageError
from denseclip_viz.explorers.status import HERE

MOST_BYTES = 8 * 10**6  # of an uploaded file: a notebook server drops the connection at messages of 10 MiB


class Upload(anywidget.AnyWidget):
    """A button and a place to drop an image file on; the browser refuses what is too large to be sent.

    Attributes:
        content: The bytes of a file that was sent; empty again once they were taken.
        name: Its name.
        refused: Name and size of a file that was not sent, for the message.
        limit: The most bytes.
    """

    _esm = (HERE / "upload.js").read_text("utf-8")
    content = traitlets.CBytes(b"").tag(sync=True, echo_update=False)  # not sent back again
    name = traitlets.Unicode("").tag(sync=True)
    refused = traitlets.Dict().tag(sync=True)
    limit = traitlets.Int(MOST_BYTES).tag(sync=True)

    def take(self) -> bytes:
        """Take the bytes, so that neither kernel nor page hold them any longer."""
        content = bytes(self.content)
        self.content = b""
        return content


def too_large(name: str, size: int, limit: int = MOST_BYTES) -> ImageError:
    """Say that a file is too large to be sent.

    Example:
        >>> print(too_large("cat.png", 9_500_000))
        cat.png has 9.5 MB. Expected at most 8 MB, as it goes through the notebook's connection. Shrink it, or ...
    """
    expected = f"at most {limit / 1e6:.0f} MB, as it goes through the notebook's connection"
    fix = "Shrink it, or open it from a cell with explorer.look_at(path)."
    return ImageError(f"{name} has {size / 1e6:.1f} MB", expected=expected, fix=fix)
