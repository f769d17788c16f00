"""DenseCLIP+: a network that learns from a teacher's dense maps, and answers in CLIP's text space on a finer grid."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
