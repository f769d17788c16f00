"""What made a score: attributions of a prompt to positions, layers and heads."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
