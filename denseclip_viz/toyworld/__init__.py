"""The bundled world: scenes drawn by code alone, with exact masks and true captions."""

from denseclip_viz.toyworld.claims import Claims, Phrase, Thing, parse
from denseclip_viz.toyworld.scenes import Scene
from denseclip_viz.toyworld.vocabulary import WorldVocabulary, vocabulary
from denseclip_viz.toyworld.world import SPLITS, Scenes, dataset, export, scene, seed_of, sibling_scenes

__all__ = [
    "SPLITS",
    "Claims",
    "Phrase",
    "Scene",
    "Scenes",
    "Thing",
    "WorldVocabulary",
    "dataset",
    "export",
    "parse",
    "scene",
    "seed_of",
    "sibling_scenes",
    "vocabulary",
]


def __dir__() -> list[str]:
    return sorted(__all__)  # tab completion shows what is public, and no files
