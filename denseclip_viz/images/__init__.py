"""Images from files, PIL images, arrays and scenes: RGB, upright and whole, or an error that names them."""

from denseclip_viz.images.reading import ImageLike, describe, display, from_bytes, read, read_remarked, unwrapped

__all__ = ["ImageLike", "describe", "display", "from_bytes", "read", "read_remarked", "unwrapped"]
