"""`atlas`: a map of all images or positions of a store, and the images of what is selected on it."""

from __future__ import annotations

import base64
import io
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import traitlets
from matplotlib.colors import to_rgb

from denseclip_viz.canvas import script
from denseclip_viz.canvas.messages import CheckedWidget
from denseclip_viz.clip.summary import is_random
from denseclip_viz.errors import ImageError, shown_elsewhere
from denseclip_viz.explorers.point_images import PointImages
from denseclip_viz.explorers.status import one_line
from denseclip_viz.explorers.worker import Report, Worker
from denseclip_viz.features.feature_store import FeatureStore, Texts
from denseclip_viz.features.projection import point_scores, project
from denseclip_viz.plot import scales
from denseclip_viz.plot.embedding_maps import (
    UNLABELLED,
    Labels,
    axis_label,
    facts,
    label_codes,
    map_figure,
    score_scale,
    window,
)
from denseclip_viz.plot.raster import COLOURS, colour_tables
from denseclip_viz.plot.sheet import RANDOM, provenance
from denseclip_viz.plot.text import number
from denseclip_viz.prompts import Prompts
from denseclip_viz.validation import is_whole, many, short

if TYPE_CHECKING:
    import xarray as xr

HERE = Path(__file__).parent  # its files are read here: anywidget keeps every widget that was given a path
PER_PAGE = 24  # images of a selection at once
FINEST = 65535  # coordinates go to the page as 16 bits: a screen has fewer pixels


class AtlasPanel(CheckedWidget):
    """What `atlas` returns: a map in the browser, and the images of its selection.

    Attributes:
        selection: Numbers of the selected points, sorted. Set it, and the page follows.
        prompt: What points are coloured by. Set it, and only the text is encoded.
        colour: `"cosine"`, or `"labels"` where there are any.
        projected: The layout, as `features.project` returned it.
        scores: Raw cosines `(prompt, point)` of what is shown, the absent prompts' too.
        status: One line on what is going on, was read otherwise than typed, or went wrong.
    """

    _esm = script("base") + (HERE / "atlas.js").read_text("utf-8")
    _css = (HERE / "explorers.css").read_text("utf-8") + (HERE / "atlas.css").read_text("utf-8")
    _map = traitlets.Dict().tag(sync=True)
    _paint = traitlets.Dict().tag(sync=True)
    _sheet = traitlets.Dict().tag(sync=True)
    _pointed = traitlets.Int(-1).tag(sync=True)
    _hovered = traitlets.Dict().tag(sync=True)
    _selected = traitlets.CBytes(b"").tag(sync=True)
    _page = traitlets.Int(0).tag(sync=True)
    prompt = traitlets.Unicode("").tag(sync=True)
    colour = traitlets.Enum(("cosine", "labels"), "cosine").tag(sync=True)
    status = traitlets.Unicode("").tag(sync=True)
    status_kind = traitlets.Enum(("ok", "busy", "warning", "error"), "ok").tag(sync=True)
    selection: Any = traitlets.TraitType(())

    def __init__(
        self,
        store: FeatureStore,
        texts: Texts,
        prompts: Prompts,
        *,
        layout: xr.Dataset,
        scores: xr.DataArray,
        labels: Labels | None,
    ) -> None:
        self.store, self.projected, self.scores = store, layout, scores
        self._texts, self._prompts, self._labels = texts, prompts, labels
        self._images, self._scale = PointImages(store, layout), score_scale(self.scores)[0]
        self._lock = threading.RLock()
        options: dict[str, Any] = {"on_error": self._fail, "lock": self._lock}
        self._worker = Worker(on_progress=lambda text, share: None, **options)
        self._aside = Worker(on_progress=lambda text, share: None, **options)
        super().__init__(prompt=prompts.prompts[0])
        self._map = self._described()
        self._colour()
        self._show_selection()
        handlers: dict[str, Callable[[], None]] = {
            "prompt": self._ask,
            "colour": self._colour,
            "_page": self._lay_sheet,
        }
        handlers |= {"selection": self._show_selection, "_selected": self._select, "_pointed": self._point}
        for name, handler in handlers.items():
            self.observe(self._safe(handler), name)

    @property
    def selected(self) -> xr.Dataset:
        """The selected points of `projected`, with their `score` `(prompt, point)`."""
        chosen: xr.Dataset = self.projected.assign(score=self.scores).isel(point=list(self.selection))
        return chosen

    @property
    def busy(self) -> bool:
        """Whether colours or images are still to come."""
        return self._worker.busy or self._aside.busy

    def close(self) -> None:
        """Stop its work, and take it down."""
        self._worker.stop()
        self._aside.stop()
        super().close()

    @traitlets.validate("selection")
    def _checked(self, proposal: Any) -> tuple[int, ...]:
        count, value = self.projected.sizes["point"], proposal["value"]
        if not isinstance(value, Iterable) or not all(is_whole(one, 0) and one < count for one in value):
            got, expected = f"selection={short(value)}", f"a list of numbers of points, 0 to {count - 1}"
            raise ImageError(got, expected=expected, fix="The images of points are listed in projected.image.")
        return tuple(sorted(set(map(int, value))))

    @traitlets.validate("_selected")
    def _readable(self, proposal: Any) -> bytes:
        numbers = np.frombuffer(proposal["value"], "<u4")  # which refuses other sizes
        if numbers.size and numbers.max() >= self.projected.sizes["point"]:
            raise traitlets.TraitError("no such point")
        return bytes(proposal["value"])

    def _safe(self, handler: Callable[[], None]) -> Callable[[Any], None]:
        """Let one handler run at a time, since a page's messages come in several threads, and show what it raises."""

        def handle(change: Any) -> None:
            with self._lock:
                try:
                    handler()
                except Exception as error:  # noqa: BLE001  nobody above a widget's callback would show it
                    self._fail(error)

        return handle

    def _fail(self, error: BaseException) -> None:
        self.status, self.status_kind = one_line(error), "error"

    def _described(self) -> dict[str, Any]:
        """Describe the map: where its points lie in the square that figures show, and what is written around it."""
        layout = self.projected
        middle, reach = window(layout)
        shares = (layout["place"].to_numpy() - middle) / reach * 0.5 + 0.5
        about: dict[str, Any] = {"axes": [axis_label(layout, 0), axis_label(layout, 1)], "facts": facts(layout)}
        about |= {"provenance": provenance(layout.attrs), "caution": str(layout.attrs.get("caution", ""))}
        about |= {"stamp": RANDOM if is_random(layout.attrs) else "", "choice": self._labels is not None}
        return {**about, "count": len(shares), "places": np.rint(FINEST * shares).astype("<u2").tobytes()}

    def _ask(self) -> None:
        """Colour by another prompt, beside the notebook's own thread: the text is encoded, no image is."""
        prompt, before = self.prompt, self._prompts
        self.status, self.status_kind = "comparing …", "busy"

        def work(report: Report) -> tuple[xr.DataArray, str]:
            with shown_elsewhere() as warned:
                prompts = Prompts([prompt], before.templates, absent=before.named(absent=True))
                scores = point_scores(self.store, self.projected, self._texts, prompts)[0]
            return scores, " ".join(warned)

        def then(result: tuple[xr.DataArray, str]) -> None:
            self.scores, self.status = result
            self.status_kind = "warning" if self.status else "ok"
            self._scale = scales.covering([self._scale, score_scale(self.scores)[0]])
            self.colour = "cosine"
            self._colour()
            self._lay_sheet()

        self._worker.start(work, then)

    def _colour(self) -> None:
        """Give every point a colour: of the scale that covers all prompts so far, or of its label."""
        if self.colour == "labels" and self._labels is not None:
            codes, names = self._labels
            looks = [to_rgb(UNLABELLED), *map(scales.label_colour, range(len(names)))]
            table = np.zeros((COLOURS, 3), np.uint8)
            table[: len(looks)] = np.rint(255 * np.array(looks))
            listed = [*names, "no label"] if (codes < 0).any() else names
            self._paint = {
                "codes": (codes + 1).astype(np.uint8).tobytes(),
                "table": table.tobytes(),
                "legend": [{"name": name, "code": (at + 1) % (len(names) + 1)} for at, name in enumerate(listed)],
            }
            return
        scale, baseline = self._scale, score_scale(self.scores)[1]
        low, width = scale.low, scale.high - scale.low  # the baseline lies between
        shares = (self.scores[0].to_numpy() - low) / width
        self._paint = {
            "codes": np.rint(255 * shares.clip(0, 1)).astype(np.uint8).tobytes(),
            "table": colour_tables([scale.colours]),
            "scale": scale.to_dict(),
            "baseline": {} if baseline is None else {"share": (baseline - low) / width, "text": number(baseline, 3)},
            "shown": str(self.scores["prompt"].to_numpy()[0]),
        }

    def _select(self) -> None:
        self.selection = tuple(np.frombuffer(self._selected, "<u4").tolist())

    def _show_selection(self) -> None:
        self._selected = np.array(self.selection, dtype="<u4").tobytes()
        if self._page:
            self._page = 0  # which lays the sheet
        else:
            self._lay_sheet()

    def _lay_sheet(self) -> None:
        """Send the images of one page of the selection, the highest cosine first."""
        images = self._images.ranked(self.selection, self.scores[0].to_numpy())
        page = min(max(self._page, 0), max(0, (len(images) - 1) // PER_PAGE))
        start, points = page * PER_PAGE, len(self.selection)
        shown = images[start : start + PER_PAGE]
        title = (
            many(len(images), "image")
            if self.projected.attrs["of"] == "global"
            else (f"{many(points, 'position')} of {many(len(images), 'image')}")
        )
        about = {"title": title, "start": start, "images": len(images), "page": page, "per_page": PER_PAGE}

        def work(report: Report) -> list[dict[str, Any]]:
            return [self._images.tile(one) for one in shown]

        def then(tiles: list[dict[str, Any]]) -> None:
            self._sheet = {**about, "tiles": tiles}

        self._aside.start(work, then)

    def _point(self) -> None:
        """Tell the page what it points at."""
        point, scores = self._pointed, self.scores[0].to_numpy()
        if 0 <= point < len(scores):
            [one] = self._images.ranked([point], scores)
            self._hovered = {**self._images.tile(one), "point": point}

    def __repr__(self) -> str:
        return (
            f"atlas({many(self.projected.sizes['point'], 'point')} by {self.prompt!r}, {len(self.selection)} selected)"
        )

    def _repr_mimebundle_(self, **options: Any) -> Any:
        """Return the widget, and a still image for places that show none."""
        bundle = super()._repr_mimebundle_(**options)
        if bundle is not None:
            buffer = io.BytesIO()
            map_figure(self.projected, scores=self.scores).savefig(buffer, format="png")
            bundle[0]["image/png"] = base64.b64encode(buffer.getvalue()).decode()
        return bundle


def atlas(
    store: FeatureStore,
    texts: Texts,
    prompt: str,
    *,
    layout: xr.Dataset | None = None,
    labels: Sequence[str] | None = None,
    template: str = "{}",
    absent: Sequence[str] = (),
) -> AtlasPanel:
    """Open a map of a store's images or positions: draw around points, and see their images.

    Another prompt colours the points anew, without an image being encoded; the scale of raw cosines covers all prompts
    so far, so that colours can be compared. Distances on the map are no cosines; how many neighbours it keeps stands
    below it. Click selects, Shift adds, arrows walk from point to point, Space selects.

    Args:
        store: A store of features.
        texts: The model that encoded the images.
        prompt: What points are coloured by at first.
        layout: What `features.project` returned; by default the principal components of the global embeddings.
        labels: One for each image of the store, or for each point, at most 20 in all; "" where there is none.
        template: How prompts are said.
        absent: Prompts that are in none of the images: their highest cosine is the baseline on the scale.

    Returns:
        The widget; `selection` reads and writes which points are selected, `selected` gives them with their cosines.

    Raises:
        PromptError: a prompt or labels that do not fit.
        LayerError: another model, features that are not kept, or the layout of another store.
        ImageError: fewer than three images.

    Example:
        >>> import tempfile, denseclip_viz as dcv
        >>> model, scenes = dcv.load(), dcv.toyworld.dataset(6, "test", size=64)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     store = dcv.features.encode(model, scenes, folder, progress=False)
        ...     images = dcv.atlas(store, model, "a house")
        >>> images.selection = [4, 0]
        >>> images.selected.number.values.tolist(), images
        ([0, 4], atlas(6 points by 'a house', 2 selected))
    """
    layout, prompts = project(store) if layout is None else layout, Prompts([prompt], template, absent=absent)
    scores = point_scores(store, layout, texts, prompts)[0]
    coded = None if labels is None else label_codes(store, layout, labels)
    return AtlasPanel(store, texts, prompts, layout=layout, scores=scores, labels=coded)
