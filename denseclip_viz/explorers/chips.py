"""Words to click, in groups, below a line that folds them away."""

from collections.abc import Mapping, Sequence
from typing import Any

import traitlets

from denseclip_viz.canvas.messages import CheckedWidget
from denseclip_viz.explorers.status import HERE


class Chips(CheckedWidget):
    """A folded list of words, each of which can be clicked.

    Attributes:
        title: The line that unfolds it.
        groups: Names, and the words of each.
        note: What stands below them.
    """

    _esm = (HERE / "chips.js").read_text("utf-8")
    title = traitlets.Unicode("").tag(sync=True)
    groups: Any = traitlets.List().tag(sync=True)
    note = traitlets.Unicode("").tag(sync=True)
    clicks = str

    def __init__(self, title: str, groups: Mapping[str, Sequence[str]], note: str = "") -> None:
        super().__init__(title=title, groups=[[name, list(words)] for name, words in groups.items()], note=note)
