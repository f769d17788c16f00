from .attributions import attribute as attribute
from .attributions import methods as methods
from .effects import direct_effects as direct_effects
from .intervene import intervene as intervene
from .neurons import neurons as neurons
