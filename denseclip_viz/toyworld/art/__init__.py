"""How everything looks: ``ART[kind]()`` is a list of painted parts; `stuff` paints what lies behind."""

from collections.abc import Callable

from denseclip_viz.toyworld.art import buildings, nature, people, vehicles
from denseclip_viz.toyworld.shapes import Part

ART: dict[str, Callable[[], list[Part]]] = {**vehicles.ART, **nature.ART, **people.ART, **buildings.ART}
