from .example import Example as Example
from .mask_folder import MaskFolder as MaskFolder
