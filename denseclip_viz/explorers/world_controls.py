"""What an explorer offers beside a bundled model: scenes of its world to look at, and the words that it knows."""

from collections.abc import Callable
from typing import Any

import ipywidgets as widgets

from denseclip_viz.clip.load.bundled import WarningTokenizer
from denseclip_viz.explorers.chips import Chips
from denseclip_viz.explorers.controls import Controls
from denseclip_viz.explorers.examples import SCENES, SIDE, names_in
from denseclip_viz.explorers.query import ImageSource
from denseclip_viz.model import Model
from denseclip_viz.toyworld.scenes import Scene
from denseclip_viz.toyworld.vocabulary import COLOURS, FAMILIES, GROUPS, RELATIONS, SIZES, STUFF, SURFACES, noun_phrase
from denseclip_viz.toyworld.world import scene

SPLIT = "test"  # scenes that no bundled model was trained on
BEFORE = f"Before them: {', '.join((*SIZES, *COLOURS, *SURFACES))}. Between two: {', '.join(RELATIONS)}."


class WorldControls:
    """Rows that are there while a bundled model is: "next scene" and examples, and words that a click adds.

    Attributes:
        rows: By the names of their controls.
    """

    def __init__(self) -> None:
        self.next = widgets.Button(description="next scene", tooltip="one that the model was not trained on")
        self.scenes = Chips("or one of these", {"": SCENES})
        self.words = Chips("words that this model knows", words(), BEFORE)
        examples = widgets.HBox([widgets.Label("examples"), widgets.VBox([self.next, self.scenes])])
        for name in ("dcvx-row", "dcvx-examples"):
            examples.add_class(name)
        self.rows: dict[str, list[widgets.Widget]] = {"words": [self.words], "examples": [examples]}
        self._number = 0

    def show(self, model: Model) -> None:
        """Stand there for a bundled model, and for no other."""
        display = "" if isinstance(model.tokenizer, WarningTokenizer) else "none"
        for rows in self.rows.values():
            for row in rows:
                row.layout.display = display

    def on_choice(
        self,
        controls: Controls,
        look_at: Callable[[ImageSource], None],
        run: Callable[[], None],
        safe: Callable[..., Any],
    ) -> None:
        """Look at a scene that is chosen, with prompts for what it holds, and for a word that is clicked."""

        def look(drawn: Scene, name: str) -> None:
            names, absent = names_in(drawn)
            controls.type(names, [absent])
            look_at(ImageSource(drawn, name))

        def follow(_: Any) -> None:
            number, self._number = self._number, self._number + 1
            look(scene(number, SIDE, split=SPLIT), f"scene {number}")

        def open_one(words: str) -> None:
            if words in SCENES:
                look(scene(words, SIDE), words)

        def add(word: str) -> None:
            if controls.add(word):
                run()

        self.next.on_click(safe(follow))
        self.scenes.on_click(safe(open_one))
        self.words.on_click(safe(add))


def words() -> dict[str, list[str]]:
    """List what may be named in the bundled world, as prompts name it.

    Example:
        >>> words()["crockery"], words()["background"][:2]
        (['a teapot', 'a mug'], ['sky', 'a night sky'])
    """
    groups = {**FAMILIES, "background": tuple(STUFF), "several kinds": tuple(GROUPS)}
    return {name: [noun_phrase(kind) for kind in kinds] for name, kinds in groups.items()}
