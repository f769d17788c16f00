"""The gallery: each figure is drawn, while the site is built, by the lines that stand below it."""

import ast
import functools
import runpy
import warnings
from pathlib import Path

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

import denseclip_viz

SOURCES = Path(__file__).parent.parent / "figures"
DRAWN = "_static/figures"
DENSE, SMALL = 130, 56  # dots an inch


class Drawn(SphinxDirective):
    """`{drawn} compare`: what `figures/compare.py` says of its figure, the figure, and its lines."""

    required_arguments, has_content = 1, False

    def run(self):
        """Draw the figure twice, large and as its thumbnail."""
        name = self.arguments[0]
        source = (SOURCES / f"{name}.py").read_text("utf-8")
        self.env.note_dependency(str(SOURCES / f"{name}.py"))
        figure = drawn(name)
        folder = Path(self.env.app.outdir) / DRAWN
        folder.mkdir(parents=True, exist_ok=True)
        for ending, dots in (("", DENSE), ("-small", SMALL)):
            figure.savefig(folder / f"{name}{ending}.png", dpi=dots)
        about, code = ast.get_docstring(ast.parse(source)), source.partition('"""\n\n')[2]
        width = round(figure.get_figwidth() * 96)
        image = f'<img class="drawn" src="{DRAWN}/{name}.png" alt="{name}: {about}" style="width: {width}px">'
        lines = f"{about}\n\n```{{raw}} html\n{image}\n```\n\n```python\n{code}```\n"
        return self.parse_text_to_nodes(lines)


class Thumbnails(SphinxDirective):
    """`{thumbnails}` and names below: a small picture of each, which leads to it."""

    has_content = True

    def run(self):
        """Show what `{drawn}` keeps further down the page."""
        doors = "".join(
            f'<a href="#{name.replace("_", "-")}"><img src="{DRAWN}/{name}-small.png" alt=""><span>{name}</span></a>'
            for name in self.content
        )
        return [nodes.raw("", f'<div class="thumbnails">{doors}</div>', format="html")]


def drawn(name):
    """Run the lines of a figure as they stand there; models are loaded once for all of them."""
    load = denseclip_viz.load
    denseclip_viz.load = loaded
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return runpy.run_path(str(SOURCES / f"{name}.py"))["figure"]
    finally:
        denseclip_viz.load = load


loaded = functools.cache(denseclip_viz.load)


def setup(app):
    app.add_directive("drawn", Drawn)
    app.add_directive("thumbnails", Thumbnails)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
