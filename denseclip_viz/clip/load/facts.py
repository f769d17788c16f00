"""What belongs to weights beside their numbers: activation and preparation, each with where it is known from."""

from collections.abc import Collection, Container, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from denseclip_viz.clip.load.models import known_models
from denseclip_viz.clip.load.pretrained import Weights
from denseclip_viz.clip.load.source import Source, find_source, holds_config, names_of, tags_of
from denseclip_viz.clip.load.weights import OPENAI_MARKS
from denseclip_viz.errors import warn

FACTS = ("activation", "mean", "std", "interpolation", "resize_mode")
"""Each is a switch of `denseclip_viz.load`, and open_clip's table has it for every tag."""

Choices = Mapping[Any, list[str]]


@dataclass(frozen=True)
class Fact:
    """What is taken, where it is known from, and, where that is no proof, whose each possible value is."""

    value: Any
    origin: str
    choices: Choices

    @property
    def undecided(self) -> bool:
        """Whether another value may be the right one."""
        return len(self.choices) > 1


def facts_of(source: Source, weights: Weights, entries: Collection[str]) -> dict[str, Fact]:
    """Say what weights were trained with: the first of the origins below that knows a fact is believed.

    `entries` are the names in the weights file. A folder's configuration that is silent on the activation means GELU,
    as it does to open_clip, which writes such folders.

    Example:
        >>> from denseclip_viz.clip.load.source import find_source
        >>> facts_of(find_source("RN50"), Weights("rn50.pt", None, {}), ())["activation"].origin
        'all tags of RN50'
    """
    from open_clip.transform import PreprocessCfg

    usual = asdict(PreprocessCfg()) | {"quick_gelu": False}
    default, choices = _facts(usual | dict(source.config)), _choices(source)
    agreed = {fact: next(iter(values)) for fact, values in choices.items() if len(values) == 1}
    if agreed.get("activation", default["activation"]) != default["activation"]:
        choices["activation"][default["activation"]] = ["the name's own configuration"]
    proofs = {
        f"the tag {weights.label}": _facts(weights.tag),
        "the folder's configuration": _facts_of_folder(source) if source.folder else {},
        "the configuration beside the file": {} if source.folder or weights.tag else _facts_beside(weights.file),
        "entries that only OpenAI's files have": _facts(usual | {"quick_gelu": True} if _openai(entries) else {}),
    }
    guesses = {source.prepared: _facts(source.preprocess)} if source.prepared else {}
    guesses |= {f"all tags of {', '.join(names_of(source))}": agreed, "open_clip's default": default}
    known = {}
    for fact in FACTS:
        origin, facts = next((origin, facts) for origin, facts in (proofs | guesses).items() if fact in facts)
        known[fact] = Fact(facts[fact], origin, {} if origin in proofs else choices[fact])
    return known


def warn_undecided(facts: Mapping[str, Fact], settled: Container[str], *, file: str, name: str) -> None:
    """Warn of facts that a file cannot say and tags do not agree on, with the choices and the switch for each.

    Warns:
        UserWarning: Once, for all facts that no switch of the caller has settled.
    """
    open_facts = {fact: known for fact, known in facts.items() if known.undecided and fact not in settled}
    if not open_facts:
        return
    listed = "; ".join(_list_choices(fact, known) for fact, known in open_facts.items())
    other = f"{name}-quickgelu"
    or_name = f", or the name {other}" if "activation" in open_facts and other in known_models() else ""
    message = f"{file} does not say how it was trained, and what is known of {name} differs: {listed}. "
    message += f"The first of each is taken; to settle it pass the one that is right{or_name}."
    warn(message)


def warn_unprepared(source: Source, settled: Container[str]) -> None:
    """Warn of a folder of transformers that does not say how its images are made ready.

    Warns:
        UserWarning: Where the caller has not settled all of it.
    """
    if source.prepared and not all(fact in settled for fact in FACTS[1:]):
        message = f"{source.folder} does not say how its images are made ready: taken is {source.prepared}. "
        warn(
            message + "Copy the model's preprocessor_config.json there, or pass mean, std, interpolation, resize_mode."
        )


def describe_origins(facts: Mapping[str, Fact], settled: Container[str]) -> str:
    """Say where each fact is known from: "all tags of RN50: activation, mean, …"."""
    origins: dict[str, list[str]] = {}
    for fact, known in facts.items():
        origin = f"{known.origin} (undecided)" if known.undecided else known.origin
        origins.setdefault("asked for" if fact in settled else origin, []).append(fact)
    return "; ".join(f"{origin}: {', '.join(names)}" for origin, names in origins.items())


def _openai(entries: Collection[str]) -> bool:
    return OPENAI_MARKS <= set(entries)


def _facts(config: Mapping[str, Any]) -> dict[str, Any]:
    """Read what a configuration of open_clip, of a model, a tag or a preparation, says of the facts."""
    facts = {fact: config[fact] for fact in FACTS if config.get(fact) is not None}
    if "quick_gelu" in config:
        facts["activation"] = "quickgelu" if config["quick_gelu"] else "gelu"
    return facts


def _facts_beside(file: Path | None) -> dict[str, Any]:
    """Read what the folder of a file says of it, where the configuration of open_clip or transformers lies in it."""
    return _facts_of_folder(find_source(file.parent)) if file and holds_config(file.parent) else {}


def _facts_of_folder(source: Source) -> dict[str, Any]:
    return _facts({**({} if source.prepared else source.preprocess), **source.config})


def _choices(source: Source) -> dict[str, dict[Any, list[str]]]:
    """Sort the tags of a name, or of the names with a folder's configuration, by what they say of each fact."""
    by_value: dict[str, dict[Any, list[str]]] = {fact: {} for fact in FACTS}
    for tag, config in tags_of(source).items():
        for fact, value in _facts(config).items():
            by_value[fact].setdefault(value, []).append(tag)
    return by_value | ({"activation": {}} if source.folder else {})


def _list_choices(fact: str, known: Fact) -> str:
    likely = {known.value: known.choices.get(known.value, ["open_clip's default"]), **known.choices}
    return " or ".join(f"{fact}={value!r} ({_first_tags(tags)})" for value, tags in likely.items())


def _first_tags(tags: list[str], most: int = 3) -> str:
    """Name the first in open_clip's order, in which OpenAI's and the best known come first."""
    return ", ".join(tags[:most]) + (f" and {len(tags) - most} more" if len(tags) > most else "")
