"""How the site is built: `make docs`. Neither the build nor the pages ask anything of a network."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import denseclip_viz

project, author, copyright = "denseclip_viz", "the denseclip_viz developers", "the denseclip_viz developers"
version = release = denseclip_viz.__version__
extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "myst_nb",
    "parts.figures",
    "parts.formulas",
    "parts.names",
    "parts.pages",
    "parts.residuals",
    "parts.links",
]
exclude_patterns = ["_build"]
nitpicky = True

html_theme, html_title = "furo", "denseclip_viz"
html_static_path, html_css_files = ["_static"], ["site.css"]
html_show_search_summary = False  # it would be read by fetch, which a page from a disk may not do
html_copy_source = html_show_sourcelink = html_show_sphinx = False
html_math_renderer = "mathml"

default_role = "py:obj"  # a name in backticks leads to its docstring, where it has one
autodoc_member_order = "bysource"
autodoc_type_aliases = {name: name for name in ("ImageLike", "PathLike", "FitLike", "PromptsLike", "Named")}
autodoc_type_aliases |= {"npt.ArrayLike": "numpy.typing.ArrayLike"}
python_maximum_signature_line_length = 72
toc_object_entries_show_parents = "hide"
napoleon_numpy_docstring, napoleon_use_ivar = False, True

nb_execution_mode = "off"  # lessons are stored with what they printed, and a test runs them
nb_ipywidgets_js = {}
nb_mime_priority_overrides = [("html", "application/vnd.jupyter.widget-view+json", None)]
myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 3
