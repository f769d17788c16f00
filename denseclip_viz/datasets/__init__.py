"""Data sets: images with what is true of each pixel, from folders in their published layouts."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
