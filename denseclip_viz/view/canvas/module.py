"""The module and the style of the canvas, as a notebook and the offline page get them."""

from __future__ import annotations

from pathlib import Path

HERE = Path(__file__).parent
MODULE = (HERE / "canvas.js").read_text(encoding="utf-8")
STYLE = (HERE / "canvas.css").read_text(encoding="utf-8")
