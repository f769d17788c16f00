"""How everything looks: ``ART[kind]()`` is a list of painted parts, ``PAINTERS[stuff]`` paints a texture."""

from collections.abc import Callable

from denseclip_viz.toyworld.art import animals, boats_and_aircraft, buildings, people, plants, vehicles
from denseclip_viz.toyworld.art.floors import FLOORS
from denseclip_viz.toyworld.art.grounds import GROUNDS
from denseclip_viz.toyworld.art.skies import SKIES
from denseclip_viz.toyworld.pen import Stuff
from denseclip_viz.toyworld.shapes import Part

ART: dict[str, Callable[[], list[Part]]] = {
    **vehicles.ART,
    **boats_and_aircraft.ART,
    **plants.ART,
    **animals.ART,
    **people.ART,
    **buildings.ART,
}
PAINTERS: dict[str, Stuff] = {**SKIES, **GROUNDS, **FLOORS}
