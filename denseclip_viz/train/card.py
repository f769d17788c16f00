"""The card beside the weights of a bundled model: how it was trained, what was measured, what it does not know."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from denseclip_viz.clip.load.bundled import CARD, load_compact
from denseclip_viz.errors import WeightsError
from denseclip_viz.files import save_bytes
from denseclip_viz.measure.candidates import ATTENTION, PATHS, VALUE
from denseclip_viz.model import Model
from denseclip_viz.train.contrastive import export
from denseclip_viz.train.loop import LOG, read_checkpoint
from denseclip_viz.train.recipes import Recipe
from denseclip_viz.train.report import report
from denseclip_viz.validation import short_name

KNOWS = "Only the bundled world: scenes that this package draws, named in its own words. It has seen no photograph."
_NOISE = 0.01


def pack(
    run: str | Path,
    to: str | Path,
    *,
    scenes: int = 500,
    slow: int = 100,
    machine: str = "",
    notes: Sequence[str] = (),
    progress: Callable[[str], None] = lambda _: None,
) -> Path:
    """Turn a training, finished or not, into a model to ship: weights, configuration, and a card of all measured.

    It is measured on so many held-out scenes, of which the `slow` first ones are for Grad-CAM. The card's command,
    typed in the folder that the card lies in, measures it again.

    Raises:
        WeightsError: The folder has no training.

    Example:
        >>> pack("no/such/folder", "model")
        Traceback (most recent call last):
        denseclip_viz.errors.WeightsError: There is no training in no/such/folder. Expected ... Train first.
    """
    export(run, to)  # refuses a folder without a training
    checkpoint = read_checkpoint(Path(run))
    assert checkpoint is not None
    facts = checkpoint.facts
    recipe = json.loads(facts["recipe"])
    model = Model(load_compact(to, label=f"bundled-{recipe['name']}"))
    numbers = report(model, n=scenes, slow=slow, size=model.preprocess.size[0], progress=progress)
    log = _log(Path(run) / LOG)
    again = f"denseclip-viz toyworld report . --scenes {scenes} --slow {slow}"  # here, wherever the card goes to
    card = {
        **_training(recipe, facts, log),
        "machine": machine,
        "notes": list(notes),
        "findings": findings(numbers),
        "recipe": recipe,
        "held_out_test": {"command": again, **numbers},
    }
    return save_bytes((json.dumps(card, indent=1) + "\n").encode(), Path(to) / CARD, [".json"], force=True)


def _log(file: Path) -> list[str]:
    try:
        return file.read_text("utf-8").splitlines()
    except (OSError, ValueError) as error:
        got = f"{short_name(file)} cannot be read ({getattr(error, 'strerror', None) or error})"
        raise WeightsError(got, expected="the log beside the checkpoint", fix="Copy the whole folder.") from error


def _training(trained: dict[str, Any], facts: Mapping[str, Any], log: Sequence[str]) -> dict[str, Any]:
    recipe = Recipe.from_json(trained)
    return {
        "model": f"bundled-{recipe.name}",
        "knows": KNOWS,
        "command": f"denseclip-viz toyworld train {recipe.name} FOLDER",
        "objective": "image-caption contrast only; no mask, box or label",
        "seed": recipe.seed,
        "steps": facts["step"],
        "steps_planned": recipe.steps,
        "images_seen": facts["images"],
        "distinct_scenes": sum(phase.scenes for phase in recipe.phases),
        "captions_per_image": recipe.captions + recipe.brief,
        "minutes": round(facts["seconds"] / 60, 1),
        "validation_during_training": [line.split("  ", 1)[1] for line in log],
    }


def findings(numbers: Mapping[str, Any]) -> list[str]:
    """Say in sentences which claims of the paper appear in a report, and which do not.

    Example:
        >>> rows = {"value": 0.5, "patch tokens": 0.1, "value + prompt denoising": 0.505}
        >>> findings({"mIoU": {name: {"all": score} for name, score in rows.items()}})
        ['patch tokens: 0.10 against 0.50 of the value path.', 'value + prompt denoising: no difference (0.005).']
    """
    scores = {name: row["all"] for name, row in numbers["mIoU"].items() if row["all"] is not None}
    value, sentences = scores[VALUE], []
    for name, score in scores.items():
        change = score - value
        if name in (PATHS["vanilla"], ATTENTION):
            sentences.append(f"{name}: {score:.2f} against {value:.2f} of the value path.")
        elif name.startswith("value +") or name in ("value, one template", PATHS["value-attention-only"]):
            effect = "no difference" if abs(change) < _NOISE else "raises mIoU" if change > 0 else "lowers mIoU"
            sentences.append(f"{name}: {effect} ({change:.3f}).")
    return sentences
