from .dataset import Dataset as Dataset
from .example import Example as Example
from .layouts import Layout as Layout
from .layouts import MaskFiles as MaskFiles
from .layouts import layouts as layouts
from .mask_folder import MaskFolder as MaskFolder
from .reader import check as check
from .reader import read as read
