"""Numbers over images, prompts and templates: which candidate sees best, by how much, and why."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
