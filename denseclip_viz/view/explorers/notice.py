"""One line that says what is going on or what went wrong, and a picture chosen in the browser."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from types import TracebackType
from typing import Any, ParamSpec

import anywidget
import traitlets

from denseclip_viz.errors import DenseclipVizError, PictureError

HERE = Path(__file__).parent  # its files are read here: anywidget keeps every widget that was given a path
MOST_BYTES = 8 * 10**6  # of an uploaded file: a notebook server drops the connection at messages of 10 MiB
Given = ParamSpec("Given")


class Notice(anywidget.AnyWidget):
    """A line below the controls, with a thin bar while something runs; it brings the explorers' looks along.

    Attributes:
        text: The line.
        kind: "ok", "busy", "warning" or "error".
        share: What is done of the work, 0 to 1.
    """

    _esm = (HERE / "notice.js").read_text("utf-8")
    _css = (HERE / "explorers.css").read_text("utf-8")
    text = traitlets.Unicode("").tag(sync=True)
    kind = traitlets.Enum(("ok", "busy", "warning", "error"), "ok").tag(sync=True)
    share = traitlets.Float(0.0).tag(sync=True)

    def say(self, text: str, kind: str = "ok", share: float = 0.0) -> None:
        """Show a line, all at once."""
        with self.hold_sync():
            self.text, self.kind, self.share = text, kind, share


class Upload(anywidget.AnyWidget):
    """A button and a place to drop a picture file on; the browser refuses what is too large to be sent.

    Attributes:
        content: The bytes of a file that came; empty again once they were taken.
        name: Its name.
        refused: Name and size of a file that was not sent, for the message.
        limit: The most bytes.
    """

    _esm = (HERE / "upload.js").read_text("utf-8")
    content = traitlets.CBytes(b"").tag(sync=True, echo_update=False)  # not sent back again
    name = traitlets.Unicode("").tag(sync=True)
    refused = traitlets.Dict().tag(sync=True)
    limit = traitlets.Int(MOST_BYTES).tag(sync=True)

    def taken(self) -> bytes:
        """Take the bytes, so that neither kernel nor page hold them any longer."""
        content = bytes(self.content)
        self.content = b""
        return content


def too_large(name: str, size: int, limit: int = MOST_BYTES) -> PictureError:
    """Say that a file is too large to be sent.

    Example:
        >>> print(too_large("cat.png", 9_500_000))
        cat.png has 9.5 MB. Expected at most 8 MB, as it goes through the notebook's connection. Shrink it, or ...
    """
    expected = f"at most {limit / 1e6:.0f} MB, as it goes through the notebook's connection"
    fix = "Shrink it, or open it from a cell with explorer.look_at(path)."
    return PictureError(f"{name} has {size / 1e6:.1f} MB", expected=expected, fix=fix)


def in_words(error: BaseException) -> str:
    """Put an error into one line: our own messages as they are, others with their type.

    Example:
        >>> in_words(ZeroDivisionError("division by zero"))
        'ZeroDivisionError: division by zero'
    """
    said = " ".join(str(error).split())
    if isinstance(error, DenseclipVizError):
        return said
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


def told(error: BaseException) -> None:
    """Bring an error that is none of our own to where the notebook shows tracebacks; without one, raise it."""
    from IPython.core.getipython import get_ipython

    shell = get_ipython()
    if shell is None:
        raise error
    shell.showtraceback((type(error), error, error.__traceback__))


class Shown:
    """Shows what a block raises in one line, and what is not one of our own errors as a traceback too.

    Args:
        fail: Called with the error.
    """

    def __init__(self, fail: Callable[[BaseException], None]) -> None:
        self._fail = fail

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if error is not None:
            self._fail(error)
            if not isinstance(error, DenseclipVizError):
                told(error)
        return True


def shown(
    fail: Callable[[BaseException], None], call: Callable[Given, Any], lock: threading.RLock | None = None
) -> Callable[Given, None]:
    """Wrap a callback so that nothing which it raises can vanish.

    Args:
        fail: Called with what it raises.
        call: The callback.
        lock: Held while it runs: JupyterLab lets callbacks of several widgets run in several threads.

    Example:
        >>> lines = []
        >>> def choose():
        ...     raise too_large("cat.png", 9_500_000)
        >>> shown(lines.append, choose)()
        >>> len(lines)
        1
    """

    def guarded(*args: Given.args, **kwargs: Given.kwargs) -> None:
        with lock or nullcontext(), Shown(fail):
            call(*args, **kwargs)

    return guarded
