"""One line that says what is going on or what went wrong."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from types import TracebackType
from typing import Any, ParamSpec

import anywidget
import traitlets

from denseclip_viz.errors import DenseclipVizError

HERE = Path(__file__).parent  # its files are read here: anywidget keeps every widget that was given a path
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
        >>> from denseclip_viz.errors import OutputError
        >>> lines = []
        >>> def choose():
        ...     raise OutputError("Nowhere", expected="a folder", fix="Name one.")
        >>> shown(lines.append, choose)()
        >>> len(lines)
        1
    """

    def guarded(*args: Given.args, **kwargs: Given.kwargs) -> None:
        with lock or nullcontext(), Shown(fail):
            call(*args, **kwargs)

    return guarded
