"""See and measure what CLIP's pooled answer leaves out: global embedding against dense value-path features."""

from typing import Any

import lazy_loader

__version__ = "0.1.0"

_load, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)  # the names stand once, in the stub beside this


def __getattr__(name: str) -> Any:
    if name in __all__:
        return _load(name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
