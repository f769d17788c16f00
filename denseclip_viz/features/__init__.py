"""Features of many images, encoded once and kept: texts are compared with them as products of matrices."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
