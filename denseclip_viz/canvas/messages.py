"""What a page sends to a widget: taken if it is well formed, and else let go with one line in the log."""

from collections.abc import Callable, Mapping
from typing import Any

import anywidget
from ipywidgets.widgets.widget import _put_buffers

METHODS = ("update", "request_state", "custom")


class CheckedWidget(anywidget.AnyWidget):
    """A widget that no message can bring into a state that it could not be in; a wrong one changes nothing.

    Attributes:
        clicks: Of what type its page says what was clicked.
    """

    clicks: type = type(None)

    def read_state(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """Give what is taken of a state that a page sent."""
        return dict(state)

    def on_click(self, call: Callable[[Any], object]) -> None:
        """Call back with what is clicked on the page."""
        self.on_msg(lambda _widget, clicked, _buffers: call(clicked))

    def _handle_msg(self, msg: Mapping[str, Any]) -> None:
        try:
            data = msg["content"]["data"]
            if data["method"] not in METHODS:
                raise ValueError(f"method {data['method']!r}")
            if data["method"] == "update":
                self._check(data, msg.get("buffers") or [])
            if data["method"] == "custom" and not isinstance(data["content"], self.clicks):
                raise TypeError(f"a click of type {type(data['content']).__name__}")
        except Exception as error:  # noqa: BLE001  nobody knows what a page may send
            first = (str(error).splitlines() or [""])[0][:200]
            self.log.warning("%s let go a malformed message: %s: %s", type(self).__name__, type(error).__name__, first)
            return
        super()._handle_msg(msg)

    def _check(self, data: dict[str, Any], buffers: list[Any]) -> None:
        """Raise what taking an update would raise, before anything is changed."""
        _put_buffers(data["state"], data.get("buffer_paths", []), buffers)
        traits = self.traits(sync=True)
        for name, value in self.read_state(data["state"]).items():
            if name in traits:
                read = self.trait_metadata(name, "from_json", self._trait_from_json)
                traits[name]._validate(self, read(value, self))
