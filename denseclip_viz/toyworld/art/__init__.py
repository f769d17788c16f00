"""How everything looks: ``ART[kind]()`` is a list of painted parts, ``PAINTERS[stuff]`` paints a texture."""

from __future__ import annotations

from collections.abc import Callable

from denseclip_viz.toyworld.art import animals, buildings, characters, crafts, plants, vehicles
from denseclip_viz.toyworld.art.floors import FLOORS
from denseclip_viz.toyworld.art.grounds import GROUNDS
from denseclip_viz.toyworld.art.skies import SKIES
from denseclip_viz.toyworld.pens import Stuff
from denseclip_viz.toyworld.shapes import Part

ART: dict[str, Callable[[], list[Part]]] = {
    **vehicles.ART,
    **crafts.ART,
    **plants.ART,
    **animals.ART,
    **characters.ART,
    **buildings.ART,
}
PAINTERS: dict[str, Stuff] = {**SKIES, **GROUNDS, **FLOORS}
