"""The models that an explorer offers, by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from denseclip_viz.errors import ModelNameError
from denseclip_viz.model import Model

BUNDLED = ("bundled-resnet", "bundled-vit")
Models = Model | str | Mapping[str, Model | str] | Sequence[Model | str] | None


def named(models: Models) -> dict[str, Model | str]:
    """Name the models that came, each once; what came as a name is loaded when it is asked for.

    Args:
        models: A model, its name, several of them, or a mapping from names; the bundled ones by default.

    Raises:
        ModelNameError: No models, or something else.

    Example:
        >>> named("ViT-B-16"), list(named(None))
        ({'ViT-B-16': 'ViT-B-16'}, ['bundled-resnet', 'bundled-vit'])
    """
    if models is None:
        return {name: name for name in BUNDLED}
    if isinstance(models, Mapping):
        found = {str(name): _model(one) for name, one in models.items()}
    else:
        several = [models] if isinstance(models, Model | str) else _several(models)
        found = {}
        for one in several:
            found.setdefault(_free(_name(one), found), _model(one))
    if found:
        return found
    raise ModelNameError("No models came", expected="at least one", fix="Leave it out for the bundled ones.")


def _several(models: object) -> list[Model | str]:
    if isinstance(models, Sequence):
        return list(models)
    raise _no_model(models)


def _model(one: object) -> Model | str:
    if isinstance(one, Model | str):
        return one
    raise _no_model(one)


def _no_model(one: object) -> ModelNameError:
    expected = "a model, the name of one, or several"
    return ModelNameError(
        f"An object of type {type(one).__name__}", expected=expected, fix="Pass what denseclip_viz.load returns."
    )


def _name(one: object) -> str:
    known = _model(one)
    return known if isinstance(known, str) else str(known.provenance["model"])


def _free(name: str, taken: Mapping[str, Any]) -> str:
    names = (name, *(f"{name} ({number})" for number in range(2, len(taken) + 3)))
    return next(each for each in names if each not in taken)
