"""The controls that need the model: their widgets, what is typed into them, and which of them a teacher has locked."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import ipywidgets as widgets
import traitlets

from denseclip_viz.canvas.messages import CheckedWidget
from denseclip_viz.canvas.state import CONTROLS as CANVAS_CONTROLS
from denseclip_viz.errors import ImageError, PromptError, shown_elsewhere
from denseclip_viz.explorers.session import VALUE, ImageSource, Paths, Query
from denseclip_viz.explorers.status import HERE
from denseclip_viz.prompts import TEMPLATE_SETS, Prompts, template_set
from denseclip_viz.prompts.articles import two_articles
from denseclip_viz.validation import is_number, refuse_twice, short, strings

TEXTS = ("prompts", "absent", "templates")  # what every explorer has
GEOMETRIES = (("the model's own crop", "native"), ("the whole image", "whole"), ("tiles, finer cells", "tiles"))
OWN = "own"
TEMPLATE_CHOICES = (
    ("as typed", "none"),
    ("one: a photo of a …", "single"),
    ("scene, 5", "scene"),
    ("ImageNet, 7", "imagenet-7"),
    ("ImageNet, 80", "imagenet-80"),
    ("MaskCLIP, 85", "maskclip-85"),
    ("my own …", OWN),
)
CHOICES = ("model", "geometry", "paths", "smooth", "denoise")
MOST_BYTES = 8 * 10**6  # of an uploaded file: a notebook server drops the connection at messages of 10 MiB
LOOKS = {"style": {"description_width": "68px"}, "layout": {"width": "auto"}}
LATE = 2.0  # seconds


class Upload(CheckedWidget):
    """A button and a place to drop an image file on; the browser refuses what is too large to be sent.

    Attributes:
        content: The bytes of a file that was sent; empty again once they were taken.
        name: Its name; empty again with them.
        shown: The name of the file that is looked at.
        refused: Name and size of a file that was not sent, for the message.
        limit: The most bytes.
    """

    _esm = (HERE / "upload.js").read_text("utf-8")
    content = traitlets.CBytes(b"").tag(sync=True, echo_update=False)  # not sent back again
    name = traitlets.Unicode("").tag(sync=True)
    shown = traitlets.Unicode("").tag(sync=True)
    refused = traitlets.Dict().tag(sync=True)
    limit = traitlets.Int(MOST_BYTES).tag(sync=True)

    def take(self) -> ImageSource:
        """Take the file, so that neither kernel nor page hold it any longer."""
        taken = ImageSource(bytes(self.content), self.name)
        self.content, self.name = b"", ""
        return taken

    @traitlets.validate("refused")
    def _check_refused(self, proposal: Any) -> Any:
        size, name = (proposal["value"].get(key) for key in ("size", "name"))
        if proposal["value"] and not (is_number(size) and isinstance(name, str)):
            raise traitlets.TraitError("a refused file has a name and a size")
        return proposal["value"]

    def refusal(self) -> ImageError:
        """Say that the last file was too large to be sent."""
        expected = f"at most {self.limit / 1e6:.0f} MB, as it goes through the notebook's connection"
        fix = "Shrink it, or open it from a cell with explorer.look_at(path)."
        got = f"{self.refused['name']} has {int(self.refused['size']) / 1e6:.1f} MB"
        return ImageError(got, expected=expected, fix=fix)


class Controls:
    """The widgets of an explorer, by name; all exist, and only those that are asked for are shown.

    Attributes:
        box: Those that are shown, each in a row.
        rows: All rows, shown or not.
    """

    def __init__(
        self,
        prompts: Prompts,
        models: Sequence[str],
        *,
        names: Sequence[str],
        hidden: Sequence[str],
        paths: Paths = VALUE,
    ) -> None:
        self._showing = False
        self._before, self._last, self._clicked = prompts, prompts.templates, float("-inf")
        present, absent = (list(map(_one_line, prompts.named(absent=wanted))) for wanted in (False, True))
        chosen = template_choice(prompts.templates)
        lines = min(max(4, len(present)), 10)
        self.prompts = _area("prompts", "\n".join(present), "a taxi; Enter looks again", rows=lines)
        self.absent = _area("absent", "\n".join(absent), "what is surely not there: the baseline", rows=2)
        self.templates = _choice("templates", TEMPLATE_CHOICES, chosen)
        self.own = _area("", "\n".join(prompts.templates) if chosen == OWN else "", "a photo of {}.", rows=3)
        self.model = _choice("model", [(name, name) for name in models], models[0])
        self.geometry = _choice("fit", GEOMETRIES, "native")
        self._paths = path_choices(paths)
        self.paths = _choice("paths", [(name, name) for name in self._paths], self._named(paths))
        self.smooth = _check("key smoothing", "positions with like keys share their segments")
        self.denoise = _check("prompt denoising", "prompts that are likely nowhere are left out")
        self.image = Upload()
        self.run = widgets.Button(description="Run", tooltip="look again, with what is typed", button_style="primary")
        self.stop = widgets.Button(description="Stop", tooltip="give up what is running", disabled=True)
        for lines in (self.prompts, self.absent, self.own):
            lines.add_class("dcvx-lines")
        for name, css in {"prompts": "text", "run": "run", "stop": "stop", "image": "upload"}.items():
            getattr(self, name).add_class(f"dcv-{css}")
        rows = self._rows()
        shown = [name for name in names if name not in hidden and (name != "model" or len(models) > 1)]
        self._own_shown, self.rows = "templates" in shown, [row for group in rows.values() for row in group]
        self.box = widgets.VBox([row for name in shown for row in rows[name]])
        self.box.add_class("dcvx-controls")
        self._show_own()

    def query(self, image: ImageSource, *, layers: str = "") -> Query:
        """Read what the controls say.

        Raises:
            PromptError: What is typed cannot be used.
        """
        typed = {name: getattr(self, name).value for name in (*TEXTS, "own")}
        with shown_elsewhere() as warned:
            prompts = read_prompts(self._before, **typed)
        self._last = prompts.templates
        choices = {name: getattr(self, name).value for name in CHOICES} | {"paths": self._paths[self.paths.value]}
        return Query(image, prompts=prompts, layers=layers, warned=tuple(warned), **choices)

    def show(self, query: Query) -> None:
        """Let choices say what is shown, without asking for it; what is being typed stays."""
        self._showing = True
        try:
            for name in CHOICES:
                getattr(self, name).value = self._named(query.paths) if name == "paths" else getattr(query, name)
            self.templates.value = template_choice(query.prompts.templates)
        finally:
            self._showing = False

    def _named(self, paths: Paths) -> str:
        return next(name for name, chosen in self._paths.items() if chosen is paths)

    def on_query(self, ask: Callable[[], None]) -> None:
        """Call back when something is to be looked at: Run, Enter in a text, another choice."""

        def call() -> None:
            if not self._showing:
                ask()

        def clicked(_: Any) -> None:
            self._clicked = time.monotonic()
            call()

        def changed(change: Any) -> None:
            # to a busy kernel the browser sends a click at once, and the text that was typed before it later
            if _entered(change) or time.monotonic() - self._clicked < LATE:
                call()

        self.run.on_click(clicked)
        for text in (self.prompts, self.absent, self.own):
            text.observe(changed, "value")
        for choice in CHOICES:
            getattr(self, choice).observe(lambda _: call(), "value")
        # the order counts: own templates start as what was chosen before, and are then asked for
        self.templates.observe(lambda _: self._start_own(), "value")
        self.templates.observe(lambda _: call(), "value")

    def _start_own(self) -> None:
        if self.templates.value == OWN and not self.own.value.strip():
            self.own.value = "\n".join(self._last)
        self._show_own()

    def _show_own(self) -> None:
        self.own.layout.display = "" if self._own_shown and self.templates.value == OWN else "none"

    def _rows(self) -> dict[str, list[widgets.Widget]]:
        buttons = widgets.HBox([self.run, self.stop])
        refine = widgets.HBox([widgets.Label("refine"), widgets.VBox([self.smooth, self.denoise])])
        upload = widgets.HBox([widgets.Label("image"), self.image])
        for row in (buttons, refine, upload):
            row.add_class("dcvx-row")
        buttons.add_class("dcvx-buttons")
        return {
            "prompts": [self.prompts],
            "absent": [self.absent],
            "templates": [self.templates, self.own],
            "model": [self.model],
            "image": [upload],
            "geometry": [self.geometry],
            "paths": [self.paths],
            "refinement": [refine],
            "run": [buttons],
        }


def _entered(change: Any) -> bool:
    """Tell whether Enter was pressed, or lines were pasted; quick typing may bring more than that at once."""
    new, old = str(change["new"]), str(change["old"])
    return new.count("\n") > old.count("\n") or (new.endswith("\n") and not old.endswith("\n"))


def _area(label: str, text: str, hint: str, *, rows: int) -> widgets.Textarea:
    return widgets.Textarea(text, description=label, placeholder=hint, rows=rows, **LOOKS)


def _choice(label: str, options: Sequence[tuple[str, str]], value: str) -> widgets.Dropdown:
    return widgets.Dropdown(options=list(options), value=value, description=label, **LOOKS)


def _check(label: str, hint: str) -> widgets.Checkbox:
    return widgets.Checkbox(False, description=label, indent=False, tooltip=hint, layout=LOOKS["layout"])


def sort_locks(names: str | Sequence[str], controls: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Sort the names of locked controls into those of an explorer, beside the canvas, and those of the canvas itself.

    Raises:
        PromptError: A name that neither explorer nor canvas has; the message lists what there is.
    """
    if not isinstance(names, Sequence):
        got = f"lock={names!r}"
        raise PromptError(got, expected="names of controls", fix='Write lock=["model", "image"], say.')
    chosen = [names] if isinstance(names, str) else list(names)
    unknown = [name for name in chosen if name not in controls and name not in CANVAS_CONTROLS]
    if unknown:
        expected = f"some of {', '.join(controls)}; on the canvas {', '.join(CANVAS_CONTROLS)}"
        got = f"There is no control {', '.join(map(short, unknown))} to lock"
        raise PromptError(got, expected=expected, fix="Leave it out, or name another.")
    beside, canvas = (tuple(name for name in chosen if name in some) for some in (controls, CANVAS_CONTROLS))
    return beside, canvas


def read_lines(text: str) -> tuple[str, ...]:
    """Read a list as it is typed, one a line, commas and quotes included; blank lines are none.

    Example:
        >>> read_lines("a taxi, parked" + chr(10) * 2 + " a road ")
        ('a taxi, parked', 'a road')
    """
    return tuple(line.strip() for line in text.splitlines() if line.strip())


def _one_line(name: str) -> str:
    return " ".join(name.split())


def path_choices(paths: Paths) -> dict[str, Paths]:
    """Name the paths to choose from: the value path, those that were given, and all of the model.

    Example:
        >>> from denseclip_viz.clip.paths import PATHS
        >>> list(path_choices((PATHS["value"], PATHS["sclip"])))
        ['the value path', 'value, sclip', 'all of the model']
    """
    given = {", ".join(path.name for path in paths): paths} if paths is not None and paths is not VALUE else {}
    return {"the value path": VALUE, **given, "all of the model": None}


def template_choice(templates: tuple[str, ...]) -> str:
    """Find the name of a set of templates; `"own"` where it is none.

    Example:
        >>> template_choice(("{}",)), template_choice(("my {}",))
        ('none', 'own')
    """
    return next((name for name in TEMPLATE_SETS if template_set(name) == tuple(templates)), OWN)


def _own_templates(text: str) -> tuple[str, ...]:
    if lines := read_lines(text):
        return lines
    fix = 'Write one a line, "a photo of {}." say, or choose a set.'
    raise PromptError("No templates of your own are typed", expected='lines with one "{}" each', fix=fix)


def read_prompts(before: Prompts, *, prompts: str, absent: str, templates: str, own: str = "") -> Prompts:
    """Make prompts of what is typed, one a line; synonyms, marks and switches stay for the names that were there.

    Where a template and a prompt both bring an article, articles are set right, as they are for plain texts.

    Raises:
        PromptError: Nothing is typed, something twice, or what `Prompts` refuses.

    Example:
        >>> read_prompts(Prompts("x"), prompts="a taxi", absent="a whale", templates="none")
        Prompts(2 prompts × 1 template = 2 texts, absent: 'a whale'; first: 'a taxi')
    """
    known = {_one_line(name): name for name in before.prompts}  # one that a cell gave may have more white space
    names, missing = ([known.get(line, line) for line in read_lines(text)] for text in (prompts, absent))
    if not names:
        raise PromptError("No prompt is typed", expected="at least one, such as: a taxi", fix="Write one a line.")
    for lines, what in ((names, "prompts"), (missing, "absent")):
        refuse_twice(strings(lines, what), what)  # in a mapping they have no places
    synonyms = dict(zip(before.prompts, before.synonyms, strict=True))
    hidden = [name for name, is_so in zip(before.prompts, before.background, strict=True) if is_so and name in names]
    texts_of = {name: synonyms.get(name, (name,)) for name in (*names, *missing)}
    chosen = _own_templates(own) if templates == OWN else template_set(templates)
    texts = (text for named in texts_of.values() for text in named)
    twice = two_articles(chosen, texts, plural=before.plural) is not None
    return Prompts(
        {name: texts_of[name] for name in names},
        chosen,
        absent={name: texts_of[name] for name in missing},
        background={name: texts_of[name] for name in hidden},
        articles="right" if twice else before.articles,
        plural=before.plural,
    )
