"""One line that tells what is going on or what went wrong."""

import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import traitlets

from denseclip_viz.canvas import script
from denseclip_viz.canvas.messages import CheckedWidget
from denseclip_viz.errors import DenseclipVizError
from denseclip_viz.explorers.control_words import in_controls

LONGEST = 260  # characters of a notice: some nine lines beside the image
HERE = Path(__file__).parent  # its files are read here: anywidget keeps every widget that was given a path


class StatusLine(CheckedWidget):
    """A line below Run, with a thin bar while something runs; it brings the explorers' looks along.

    Attributes:
        text: The line.
        kind: "ok", "busy", "warning" or "error".
        share: What is done of the work, 0 to 1.
    """

    _esm = script("base") + (HERE / "status.js").read_text("utf-8")
    _css = (HERE / "explorers.css").read_text("utf-8")
    text = traitlets.Unicode("").tag(sync=True)
    kind = traitlets.Enum(("ok", "busy", "warning", "error"), "ok").tag(sync=True)
    share = traitlets.Float(0.0).tag(sync=True)

    def show(self, text: str, kind: str = "ok", share: float = 0.0) -> None:
        """Show a line, all at once."""
        with self.hold_sync():
            self.text, self.kind, self.share = text, kind, share

    @contextmanager
    def errors_shown(self) -> Iterator[None]:
        """Show what a block raises instead of raising it, and what is none of our own errors as a traceback too."""
        try:
            yield
        except BaseException as error:  # noqa: BLE001  nobody above a widget's callback would show it
            self.show(one_line(error), "error")
            if not isinstance(error, DenseclipVizError):
                _show_traceback(error)


def one_line(error: BaseException) -> str:
    """Put an error into one line: our own messages in the words of the controls, or shorter, others with their type."""
    name = type(error).__name__
    if isinstance(error, DenseclipVizError):
        got, expected, fix = (" ".join(part.split()) for part in in_controls(error))
        if len(message := f"{got}. Expected {expected}. {fix}") <= LONGEST:
            return message
        fix = fix.partition(", or pass ")[0].rstrip(".")
        if len(message := f"{got}. {fix}.") <= LONGEST:  # where a text would be cut, say
            return message
        parts = got.partition(": ")[0], fix
        return "".join(f"{textwrap.shorten(part, LONGEST, placeholder=' …')}. " for part in parts).rstrip()
    message = " ".join(str(error).split())
    return f"{name}: {message}" if message else name


def _show_traceback(error: BaseException) -> None:
    """Bring an error to where the notebook shows tracebacks; without a notebook, raise it."""
    from IPython.core.getipython import get_ipython

    shell = get_ipython()
    if shell is None:
        raise error
    shell.showtraceback((type(error), error, error.__traceback__))
