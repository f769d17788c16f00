"""Tables and figures as one HTML file that needs nothing else; whatever people typed stays text."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:72rem;padding:0 1rem;color:#1f1f1f}"
    "img{max-width:100%;height:auto}table{border-collapse:collapse;font-size:13px;display:block;overflow-x:auto}"
    "td,th{padding:.2rem .6rem;text-align:right;border-bottom:1px solid #ddd;white-space:nowrap}"
    "footer{color:#6b6b6b;font-size:13px}"
)


def page(title: str, said: Sequence[str], figures: Sequence[Any], table: pd.DataFrame, *, foot: str = "") -> str:
    """Write a page: a title, what there is to say, figures, a table.

    Args:
        title: The title.
        said: Lines of text.
        figures: Figures of matplotlib; they go in as PNG.
        table: Any table.
        foot: The last line: where the numbers come from.

    Returns:
        HTML with nothing that is loaded from elsewhere and no script.

    Example:
        >>> import pandas as pd
        >>> made = page("x", ["<b>"], [], pd.DataFrame({"prompt": ["<script>"]}))
        >>> "<script>" in made, "&lt;b&gt;" in made, "&lt;script&gt;" in made
        (False, True, True)
    """
    import pandas as pd

    with pd.option_context("display.max_colwidth", None):  # a shortened template would be another one
        rows = table.to_html(index=False, escape=True, border=0, float_format=lambda value: f"{value:.4f}")
    lines = "".join(f"<p>{html.escape(line)}</p>" for line in said)
    images = "".join(f'<p><img alt="" src="data:image/png;base64,{_png(figure)}"></p>' for figure in figures)
    head = f'<meta charset="utf-8"><title>{html.escape(title)}</title><style>{_STYLE}</style>'
    return (
        f'<!doctype html>\n<html lang="en"><head>{head}</head><body><h1>{html.escape(title)}</h1>'
        f"{lines}{images}{rows}<footer><p>{html.escape(foot)}</p></footer></body></html>\n"
    )


def _png(figure: Any) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return base64.b64encode(buffer.getvalue()).decode("ascii")
