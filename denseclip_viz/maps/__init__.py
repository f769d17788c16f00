"""Maps of a trace and texts: cosines, refinements, segmentations, and tables of them."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
