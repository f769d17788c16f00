"""The reference: names with their docstrings, and where the types of a signature lead."""

import importlib
import inspect
import re
import sys

from docutils import nodes
from numpy.typing import ArrayLike
from sphinx.util.docutils import SphinxDirective
from sphinx.util.inspect import signature as signature_of
from sphinx.util.inspect import stringify_signature
from sphinx.util.nodes import make_refnode
from sphinx.util.typing import stringify_annotation

from denseclip_viz.images import ImageLike
from denseclip_viz.measure.engines import Engine

MADE_BY_US = "Model Trace Student FeatureStore Ranking EnsembleSelection Layout MaskFiles Scene Scenes Thing".split()
MADE_BY_US += "Panel AtlasPanel Claims Phrase WorldVocabulary Geometry MapMethods TextCandidates Recording".split()
WORDS = {  # what annotations say where Python has put what they stand for
    stringify_annotation(meant, "smart"): word
    for word, meant in {"numpy.typing.ArrayLike": ArrayLike, "ImageLike": ImageLike, "Engine": Engine}.items()
}
ELSEWHERE = {
    r"(Path)": "https://docs.python.org/3/library/pathlib.html#pathlib.{}",
    r"(?:torch\.)?(Tensor)": "https://docs.pytorch.org/docs/stable/tensors.html#torch.{}",
    r"torch\.(device|dtype)": "https://docs.pytorch.org/docs/stable/tensor_attributes.html#torch.{}",
    r"(?:torch\.)?nn\.(?:modules\.module\.)?(Module)": "https://docs.pytorch.org/docs/stable/generated/torch.nn.{}.html",
    r"(?:xr|xarray)\.(?:core\.\w+\.)?(DataArray|Dataset)": "https://docs.xarray.dev/en/stable/generated/xarray.{}.html",
    r"(?:pd|pandas)\.(?:core\.frame\.)?(DataFrame)": "https://pandas.pydata.org/docs/reference/api/pandas.{}.html",
    r"numpy\.(ndarray|dtype)": "https://numpy.org/doc/stable/reference/generated/numpy.{}.html",
    r"numpy\.typing\.(\w+)": "https://numpy.org/doc/stable/reference/typing.html#numpy.typing.{}",
    r"numpy\.(\w+)": "https://numpy.org/doc/stable/reference/arrays.scalars.html#numpy.{}",
    r"PIL\.Image\.(Image)": "https://pillow.readthedocs.io/en/stable/reference/Image.html#PIL.Image.{}",
    r"(?:matplotlib\.figure\.)?(Figure)": "https://matplotlib.org/stable/api/figure_api.html#matplotlib.figure.{}",
    r"matplotlib\.axes\.(?:_axes\.)?(Axes)": "https://matplotlib.org/stable/api/_as_gen/matplotlib.axes.{}.html",
}


class Names(SphinxDirective):
    """`{names} module`, and below it one name a line: a table of them, then each with its docstring."""

    required_arguments, has_content = 1, True

    def run(self):
        """Let autosummary make the table, and autodoc all else."""
        space = self.arguments[0]
        names = [f"{space}.{name.strip()}" for name in self.content if name.strip()]
        table = [".. autosummary::", "   :nosignatures:", "", *(f"   ~{name}" for name in names), ""]
        entries = [line for name in names for line in (*documented(name), "")]
        return self.parse_text_to_nodes("\n".join(["```{eval-rst}", *table, *entries, "```"]))


def documented(name):
    """Give the lines that let autodoc document a name."""
    module, _, last = name.rpartition(".")
    thing = getattr(importlib.import_module(module), last)
    if not inspect.isclass(thing):
        return [f".. autofunction:: {name}"]
    return [f".. {'autoexception' if issubclass(thing, Exception) else 'autoclass'}:: {name}", "   :members:"]


def readable(app, what, name, thing, options, signature, returned):
    """Leave out the arguments of what nobody makes by hand, and call aliases by their names."""
    if what == "class" and name.rpartition(".")[2] in MADE_BY_US:
        return "", None
    if what == "class" and (signature or "").startswith("(*args"):  # traitlets stands before the class's own
        signature = stringify_signature(signature_of(thing.__init__, bound_method=True), unqualified_typehints=True)
    return in_words(signature), in_words(returned)


def in_words(signature):
    """Call the types of a signature as the source does."""
    if not signature:
        return None
    for spelled, word in {**WORDS, "<factory>": "..."}.items():
        signature = signature.replace(spelled, word)
    return re.sub(r"TypeAliasForwardRef\('([\w.]+)'\)", r"\1", signature)


def returns_are_text(app, what, name, thing, options, lines):
    """Keep napoleon from reading the words before a colon as a type: of what is returned, and of a property."""
    if what in ("property", "attribute"):
        lines[:0] = ["..", ""]
    for at, line in enumerate(lines):
        if line.strip() in ("Returns:", "Yields:"):
            lines[at] = ""
            lines[at + 1] = f":{line.strip()[:-1].lower()}: {lines[at + 1].strip()}"


def leads_to(target):
    """Give the address of a name of another library, or nothing."""
    module, _, last = target.rpartition(".")
    if module.partition(".")[0] in sys.stdlib_module_names:
        return f"https://docs.python.org/3/library/{module}.html#{target}"
    for pattern, address in ELSEWHERE.items():
        if known := re.fullmatch(pattern, target):
            return address.format(known[1])
    return None


def ours(target, known):
    """Find where a name of ours is documented, whichever file it is from."""
    last = target.rpartition(".")[2]
    if target.startswith("denseclip_viz.") or "." not in target:
        return next((name for name in known if name.rpartition(".")[2] == last and last[:1].isupper()), None)
    return None


def resolve(app, env, node, content):
    """Lead to where a class of ours is documented, or to another library.

    What is left is a word in backticks that is no name, or a type that says what it is by its own.
    """
    target, known = node["reftarget"], env.get_domain("py").objects
    if name := ours(target, known):
        page, anchor = known[name].docname, known[name].node_id
        return make_refnode(app.builder, node.get("refdoc", ""), page, anchor, content, name)
    if address := leads_to(target):
        return nodes.reference("", "", content, internal=False, refuri=address)
    return content if node["reftype"] in ("obj", "class") else None


def setup(app):
    app.add_directive("names", Names)
    app.connect("autodoc-process-signature", readable)
    app.connect("autodoc-process-docstring", returns_are_text, priority=100)
    app.connect("missing-reference", resolve)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
