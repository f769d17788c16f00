"""Bars for long work, where somebody can see them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

Said = Callable[[int, int], object]
"""Called with (done, in all)."""


@contextmanager
def bar(what: str, *, wanted: bool, total: int | None = None) -> Iterator[Said]:
    """Show how far something is; nothing is shown before it begins, nor where nobody looks.

    Args:
        what: What is counted.
        wanted: Whether to show anything at all.
        total: How much there is, if that is known before.

    Yields:
        What to call with (done, in all).

    Example:
        >>> with bar("texts", wanted=False) as said:
        ...     said(1, 2)
    """
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    visible = wanted and (console.is_terminal or console.is_jupyter)
    with Progress(console=console, disable=not visible) as shown:
        task = shown.add_task(what, total=total, visible=total is not None)

        def said(done: int, every: int) -> None:
            shown.update(task, completed=done, total=every or None, visible=True)

        yield said
