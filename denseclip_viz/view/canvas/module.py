"""The module and the style of the canvas, as a notebook and the offline page get them."""

from __future__ import annotations

from pathlib import Path

WEB = Path(__file__).parent / "web"
PARTS = ("numbers", "choices", "places", "pixels", "parts", "telling", "drawing", "canvas")


def module() -> str:
    """One ES module: its files, as they are, one after the other."""
    return "\n".join((WEB / f"{name}.js").read_text(encoding="utf-8") for name in PARTS)


def style() -> str:
    """The style sheet."""
    return (WEB / "canvas.css").read_text(encoding="utf-8")
