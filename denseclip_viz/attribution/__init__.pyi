from .neurons import neurons as neurons
