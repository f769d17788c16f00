from . import attribution as attribution
from . import datasets as datasets
from . import features as features
from . import maps as maps
from . import measure as measure
from . import plot as plot
from . import plus as plus
from . import prompts as prompts
from . import toyworld as toyworld
from .canvas.linking import link as link
from .canvas.page import save_html as save_html
from .canvas.widget import Canvas as Canvas
from .clip.load.models import models as models
from .errors import DenseclipVizError as DenseclipVizError
from .explorers.atlas import atlas as atlas
from .explorers.explorer import explore as explore
from .explorers.layer_lens import layer_lens as layer_lens
from .explorers.template_lab import template_lab as template_lab
from .geometry import Tiles as Tiles
from .geometry import Whole as Whole
from .loading import load as load
from .model import Model as Model
from .prompts import Prompts as Prompts
from .trace import Trace as Trace
from .versions import show_versions as show_versions

__version__: str
