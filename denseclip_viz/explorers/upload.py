"""A place for an image file of the reader's own."""

from collections.abc import Callable
from typing import Any

import traitlets

from denseclip_viz.canvas.messages import CheckedWidget
from denseclip_viz.errors import ImageError
from denseclip_viz.explorers.query import ImageSource
from denseclip_viz.explorers.status import HERE
from denseclip_viz.validation import is_number

MOST_BYTES = 8 * 10**6  # of an uploaded file: a notebook server drops the connection at messages of 10 MiB


class Upload(CheckedWidget):
    """A button and a place to drop an image file on; the browser refuses what is too large to be sent.

    Attributes:
        content: The bytes of a file that was sent; empty again once they were taken.
        name: Its name; empty again with them.
        shown: The name of the file that is looked at.
        refused: Name and size of a file that was not sent, for the message.
        limit: The most bytes.
    """

    _esm = (HERE / "upload.js").read_text("utf-8")
    content = traitlets.CBytes(b"").tag(sync=True, echo_update=False)  # not sent back again
    name = traitlets.Unicode("").tag(sync=True)
    shown = traitlets.Unicode("").tag(sync=True)
    refused = traitlets.Dict().tag(sync=True)
    limit = traitlets.Int(MOST_BYTES).tag(sync=True)

    def take(self) -> ImageSource:
        """Take the file, so that neither kernel nor page hold it any longer."""
        taken = ImageSource(bytes(self.content), self.name)
        self.content, self.name = b"", ""
        return taken

    @traitlets.validate("refused")
    def _check_refused(self, proposal: Any) -> Any:
        size, name = (proposal["value"].get(key) for key in ("size", "name"))
        if proposal["value"] and not (is_number(size) and isinstance(name, str)):
            raise traitlets.TraitError("a refused file has a name and a size")
        return proposal["value"]

    def on_image(self, look: Callable[[ImageSource], None], safe: Callable[..., Any]) -> None:
        """Call back with each file that was sent; raise what became of one that was not."""

        def received(change: Any) -> None:
            if change["new"]:
                look(self.take())

        def refused(_: Any) -> None:
            raise self._refusal()

        self.observe(safe(received), "content")
        self.observe(safe(refused), "refused")

    def _refusal(self) -> ImageError:
        """Say that the last file was too large to be sent."""
        expected = f"at most {self.limit / 1e6:.0f} MB, as it goes through the notebook's connection"
        fix = "Shrink it, or open it from a cell with explorer.look_at(path)."
        got = f"{self.refused['name']} has {int(self.refused['size']) / 1e6:.1f} MB"
        return ImageError(got, expected=expected, fix=fix)
