"""One canvas for everything that moves: fed once with a result, it draws in the browser.

Here are the module and the style that a notebook and the offline page get.
"""

from pathlib import Path

WEB = Path(__file__).parent / "web"
FIRST = "base unpack selection state geometry raster masks".split()
MODULE = (*FIRST, *"keep dom region contrast heat bars readout sheet drawing canvas".split())


def module(*more: str) -> str:
    """Join one ES module: its files, as they are, one after the other; `more` follows them."""
    return script(*MODULE, *more)


def script(*names: str) -> str:
    """Join some files of the module."""
    return "\n".join((WEB / f"{name}.js").read_text(encoding="utf-8") for name in names)


def style(*more: str) -> str:
    """Return the style sheet of the canvas; `more` goes before it."""
    return "\n".join((WEB / f"{name}.css").read_text(encoding="utf-8") for name in (*more, "canvas"))
