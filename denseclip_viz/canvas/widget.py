"""The canvas in a notebook: a widget whose whole drawing happens in the browser, and its still image elsewhere."""

import base64
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import traitlets
import xarray as xr

from denseclip_viz.canvas import bundle, module, style
from denseclip_viz.canvas.messages import CheckedWidget
from denseclip_viz.canvas.payload import Payload, Result, pack_result, scales_of
from denseclip_viz.canvas.places import moved_cell, of_one_image, same_place
from denseclip_viz.canvas.snapshot import snapshot
from denseclip_viz.canvas.state import AUTO, DEFAULTS, carry_over, checked_controls, completed, opening
from denseclip_viz.errors import OutputError
from denseclip_viz.plot.panels import Interpolation
from denseclip_viz.plot.scales import OPACITY, Limits
from denseclip_viz.trace import Trace
from denseclip_viz.validation import is_on


class Canvas(CheckedWidget):
    """An image with its maps; everything that moves, moves in the browser.

    Args:
        result: What `Model.compare`, `Model.similarity`, `Model.segment`, `attribution.attribute` or `maps.difference`
            returned; nothing yet by default. `both.assign(attribution=maps)` shows attributions beside a comparison of
            the same trace.
        trace: The trace that it came from: gives a `similarity` its image, and lets a hovered cell be compared
            with all other cells.
        limits: Lowest and highest value of the dense scale, or of any view's: `{"dense": (0, 0.4)}`. What lies beyond
            has the colour of the end, and the scale says so.
        like: One or more results whose values the scales cover too, so that colours can be compared.
        leave_out: Parts that a large result is sent without: some of contribution, gap, attention, heads, attribution,
            layers, cells, image.
        still: Add a still image for places that show no widgets.
        locked: Names of controls that are not shown, for teachers.
        state: What to start with, as `Canvas.state` has it, as the JSON that a canvas copies, or as a page's link; the
            names below go before it.
        prompt: Which one to start with; the first by default, as for the next six.
        template: Which one, or "ensemble" for the mean of the maps.
        path: Which path, of a result of several.
        layer: "output" for the pooling itself, or an inner layer.
        view: "dense", "contribution", "attention", "gap", "attribution", "segments", "masks" or "difference".
        head: A head's number, or "mean".
        method: Which attribution, of a result with several.
        opacity: Of the map, 0 to 1.
        threshold: In the view's units: what is below it is not coloured.
        colours: A colour map's name, or "auto" for each view's own.
        interpolation: "bilinear", or "nearest" to see the cells.
        hover: Let the map compare the cell that is pointed at with all others.
        pinned: The cell [y, x] whose values stay in sight.
        region: The corners [y, x], in pixels of the image, of a part of it whose mean values stay in sight, as
            `maps.region_means` gives them.
        versus: What to compare the map with, as `["prompt", "a road"]`: another prompt, template, path, layer or head.
        contrast: "difference" of the two, or "slider" for one beside the other.
        split: Where the slider's line is, 0 at the left to 1.
        order: Of the rows beside the image: "given", or "value" for the highest first.
        filter: Letters, large or small; only prompts that contain them are listed there.
        rows: "bars", a heat map of prompts × "places" (here, pin, region, image, peak) or × "templates", or "auto":
            bars of up to 20 prompts, and places of more.

    Attributes:
        state: What is shown, by the names above from `prompt` on. Give it some and the others stay:
            `canvas.state = {"prompt": "a road"}`.
        status: One line under the image.
        status_kind: "ok", "busy" or "error".

    Raises:
        GeometryError: The trace is not the result's.
        LayerError: The result is none of the known kinds, or has no such layer, view or head.
        PromptError: It has no such prompt or template.
        ImageError: Another name or value in the state.
        OutputError: It is too large to be sent.

    Example:
        >>> import denseclip_viz as dcv
        >>> model = dcv.load()
        >>> both = model.compare(dcv.toyworld.scene("a taxi on a road", 96), ["a taxi", "a road"])
        >>> dcv.Canvas(both, view="gap", opacity=0.5)
        Canvas(scene 96 x 96: gap of 'a taxi', template '{}', layer output)
    """

    _esm = module()
    _css = style()
    _payload = traitlets.Dict().tag(sync=True)
    _links = traitlets.List(traitlets.Unicode()).tag(sync=True)
    state = traitlets.Dict(DEFAULTS).tag(sync=True)
    status = traitlets.Unicode("").tag(sync=True)
    status_kind = traitlets.Enum(("ok", "busy", "error"), "ok").tag(sync=True)
    locked = traitlets.List(traitlets.Unicode()).tag(sync=True)

    def __init__(
        self,
        result: xr.Dataset | xr.DataArray | None = None,
        *,
        trace: Trace | None = None,
        limits: Limits = None,
        like: Result | Sequence[Result] = (),
        leave_out: Sequence[str] = (),
        still: bool = True,
        locked: Sequence[str] = (),
        state: Mapping[str, Any] | str = "",
        prompt: str | None = None,
        template: str | None = None,
        path: str | None = None,
        layer: str | None = None,
        view: str | None = None,
        head: int | str | None = None,
        method: str | None = None,
        opacity: float = OPACITY,
        threshold: float | None = None,
        colours: str = AUTO,
        interpolation: Interpolation = "bilinear",
        hover: bool = False,
        pinned: Sequence[int] | None = None,
        region: Sequence[Sequence[float]] | None = None,
        versus: Sequence[Any] | None = None,
        contrast: str = "difference",
        split: float = 0.5,
        order: str = "given",
        filter: str = "",
        rows: str = AUTO,
    ) -> None:
        self._limits: Limits = None
        self._leave_out: tuple[str, ...] = ()
        self._own: Payload | None = None  # on its own scales
        self._shown: Payload | None = None
        self._on_one_scale: list[Canvas] = [self]
        self._still = is_on(still, "still", error=OutputError)
        super().__init__(locked=checked_controls(locked))
        if result is not None:
            self.show(result, trace=trace, limits=limits, like=like, leave_out=leave_out)
        self.state = opening(
            state,
            prompt=prompt,
            template=template,
            path=path,
            layer=layer,
            view=view,
            head=head,
            method=method,
            opacity=opacity,
            threshold=threshold,
            colours=colours,
            interpolation=interpolation,
            hover=hover,
            pinned=pinned,
            region=region,
            versus=versus,
            contrast=contrast,
            split=split,
            order=order,
            filter=filter,
            rows=rows,
        )

    @property
    def choices(self) -> dict[str, list[Any]]:
        """What its state may name: `{"prompt": […], "template": […], "view": […], …}`; nothing before a result."""
        return {} if self._shown is None else self._shown.choices

    def show(
        self,
        result: Result,
        *,
        trace: Trace | None = None,
        limits: Limits = None,
        like: Result | Sequence[Result] = (),
        leave_out: Sequence[str] = (),
    ) -> None:
        """Show another result, given as for `Canvas`; prompt, template, path, layer … stay if it has them too.

        A pinned cell and a region stay at their place in the image where the cells are others, and go with the image.

        Raises:
            LayerError, GeometryError, OutputError, ImageError: As for `Canvas`; what was shown stays.
        """
        own = pack_result(result, features=trace, leave_out=leave_out).on_scales(scales_of(like))
        self._show(own, limits, tuple(leave_out))

    def _show(self, own: Payload, limits: Limits, leave_out: tuple[str, ...]) -> None:
        own.on_scales([], limits)  # refused before anything changes
        state = dict(self.state)
        if (before := self._own) is not None:
            state["pinned"] = moved_cell(state["pinned"], before, own)
            state["region"] = state["region"] if of_one_image(before, own) else None
        state = carry_over(state, own.choices, frame=own.frame)
        if before is not None and before.threshold_of(self.state)[:1] != own.threshold_of(state)[:1]:
            state["threshold"] = None
        with self.hold_sync():
            self._own, self._limits, self._leave_out = own, limits, leave_out
            self._rescale()
            self.state = state
        for canvas in self._on_one_scale:
            if canvas is not self:
                canvas._rescale()

    def follow(self, other: "Canvas") -> None:
        """Show what another canvas does, as far as this result has it; its pin at the same share of this image.

        For once: `link` lets canvases move together in the browser.

        Example:
            >>> left, right = Canvas(opacity=0.3), Canvas()
            >>> right.follow(left)
            >>> right.state["opacity"]
            0.3
        """
        if self._shown is None or other._shown is None:
            self.state = {**other.state, "pinned": None}
            return
        offered, before, after = self._shown.choices, other._shown, self._shown
        own = {name: self.state[name] for name, names in offered.items() if other.state[name] not in names}
        places = {"pinned": same_place(other.state["pinned"], before, after)}
        places |= {} if of_one_image(before, after) else {"region": None}
        state = carry_over({**other.state, **own, **places}, offered, frame=after.frame)
        if before.threshold_of(other.state)[:1] != after.threshold_of(state)[:1]:
            is_same = after.threshold_of(self.state) == after.threshold_of(state)
            state["threshold"] = self.state["threshold"] if is_same else None
        self.state = state

    def save(
        self, file: str | os.PathLike[str], result: Result, *, trace: Trace | None = None, force: bool = False
    ) -> Path:
        """Keep what is shown, and how, as one file that `Canvas.load` opens; a canvas itself holds no result.

        In it are `result.nc`, for anything that reads netCDF; `trace.nc`, dense features and image, where there is a
        trace; and `canvas.json`, the state, the scales, and a SHA-256 of each.

        Args:
            file: Where to; ends in .zip.
            result: The one that is shown.
            trace: Its trace, where the canvas was given one.
            force: Replace a file that is there.

        Returns:
            Where it was written.

        Raises:
            OutputError: As for `save_html`, or a result or a trace that is not the one that is shown.

        Example:
            >>> import tempfile, denseclip_viz as dcv
            >>> similarity = dcv.load().similarity(dcv.toyworld.scene("a taxi on a road", 96), ["a taxi", "a road"])
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     file = dcv.Canvas(similarity, prompt="a road").save(f"{folder}/taxi.zip", similarity)
            ...     dcv.Canvas.load(file)[0]
            Canvas(scene 96 x 96: dense of 'a road', template '{}', layer output)
        """
        packed = pack_result(result, features=trace, leave_out=self._leave_out)
        if self._own is None or packed.buffers != self._own.buffers:
            got = "Another result or trace than the canvas shows"
            raise OutputError(got, expected="what it was given", fix="Pass both as they went into the canvas.")
        given = bundle.Shown(result, trace, self._own.scales, self._limits, self._leave_out)
        return bundle.write(given, file, force=force, state=self.state, locked=self.locked, still=self._still)

    @classmethod
    def load(cls, file: str | os.PathLike[str]) -> tuple["Canvas", Result, Trace | None]:
        """Open what `Canvas.save` wrote: the same numbers, on the same scales, in the same state; no model is needed.

        Args:
            file: Which one; nothing in it is run.

        Returns:
            The canvas, linked to no other one; the result, as a Dataset; and of the trace dense features and image,
            or None.

        Raises:
            OutputError: No such file, or one that is damaged, changed, or of another version.

        Example:
            >>> import denseclip_viz as dcv
            >>> dcv.Canvas.load("no.zip")
            Traceback (most recent call last):
            denseclip_viz.errors.OutputError: no.zip holds no canvas (...). Expected a file that Canvas.save wrote...
        """
        with bundle.refused(file):
            given, looks = bundle.read(file)
            packed = pack_result(given.result, features=given.trace, leave_out=given.leave_out)
            if given.scales.keys() != packed.scales.keys():
                raise ValueError("its scales are those of other maps")
            canvas = cls(locked=looks["locked"], still=looks["still"])
            canvas._show(packed.on_scales([given.scales]), given.limits, given.leave_out)
            canvas.state = looks["state"]
        return canvas, given.result, given.trace

    def _rescale(self) -> None:
        """Send what is shown, on the scales that it shares; nothing where they are as before."""
        if (own := self._own) is None:
            return
        others = [canvas._own for canvas in self._on_one_scale if canvas._own is not None]
        shown = own.on_scales((one.scales for one in others if one.source == own.source), self._limits)
        if self._shown is None or self._shown.buffers is not shown.buffers or self._shown.scales != shown.scales:
            self._shown = shown
            self._payload = {"meta": shown.meta, "buffers": shown.buffers}

    def read_state(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """Take what the browser says; of a state that was another result's only what this one has too."""
        taken = super().read_state(state)
        if self._shown is not None and "state" in taken:
            whole = {**self.state, **taken["state"]}
            taken["state"] = carry_over(whole, self._shown.choices, frame=self._shown.frame)
        return taken

    def set_state(self, sync_data: Mapping[str, Any]) -> None:
        """Set what the browser says, as far as it fits to what is shown."""
        super().set_state(self.read_state(sync_data))

    def __repr__(self) -> str:
        if self._shown is None:
            return "Canvas(nothing to show yet)"
        state, title = self.state, self._shown.meta["title"]
        of = "" if state["view"] in ("attention", "segments", "masks") else f" of {state['prompt']!r}"
        return f"Canvas({title}: {state['view']}{of}, template {state['template']!r}, layer {state['layer']})"

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]] | None:
        bundle: tuple[dict[str, Any], dict[str, Any]] | None = super()._repr_mimebundle_(**kwargs)
        if bundle is not None and self._still and self._shown is not None:
            bundle[0]["image/png"] = base64.b64encode(snapshot(self._shown, self.state)).decode()
        return bundle

    @traitlets.validate("state")
    def _complete(self, proposal: Mapping[str, Any]) -> dict[str, Any]:
        given, shown = proposal["value"], self._shown
        if shown is None:
            return completed(given, self.state, {})
        state = completed(given, self.state, shown.choices, frame=shown.frame)
        if "threshold" not in given and shown.threshold_of(self.state) != shown.threshold_of(state):
            state["threshold"] = None  # it was a number of another scale
        return state

    @traitlets.validate("locked")
    def _check_locked(self, proposal: Mapping[str, Any]) -> list[str]:
        return checked_controls(proposal["value"])
