"""See and measure what CLIP's pooled answer leaves out: global embedding against dense value-path features.

Load a model, compare an image with prompts, and draw, read or keep what comes out; `help(dcv.load)`, `help(dcv.Model)`
and every other name say what they take and return. In a notebook, `dcv.explore()` is a place to begin.

Example:
    >>> import denseclip_viz as dcv
    >>> model = dcv.load()  # bundled, offline; or dcv.load("ViT-B-16", pretrained="openai")
    >>> both = model.compare(dcv.toyworld.scene("a taxi on a road"), ["a taxi", "a road"])  # one forward pass
    >>> both.dense.dims, both.contribution.dims
    (('template', 'prompt', 'y', 'x'), ('template', 'prompt', 'y', 'x'))
    >>> figure = dcv.plot.compare(both)
"""

from typing import Any

import lazy_loader

__version__ = "0.1.0"

_load, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)  # the names stand once, in the stub beside this


def __getattr__(name: str) -> Any:
    if name in __all__:
        return _load(name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
