"""A weights file in place of a model's name: what it is a model of."""

import os
from pathlib import Path

from denseclip_viz.clip.load.models import fitting_models
from denseclip_viz.clip.load.source import holds_config
from denseclip_viz.clip.load.transformers_names import in_open_clips_names
from denseclip_viz.clip.load.weights import local_file, read_checkpoint
from denseclip_viz.errors import WeightsError
from denseclip_viz.validation import some


def is_lone_file(name: object) -> bool:
    """Say whether a name is that of a file, and not of a model.

    Example:
        >>> is_lone_file("ViT-B-32"), is_lone_file(__file__)
        (False, True)
    """
    import open_clip

    if not isinstance(name, str | os.PathLike) or os.fspath(name) in open_clip.list_models():
        return False
    try:
        return os.path.isfile(os.path.expanduser(name))
    except ValueError:  # a null in it
        return False


def architecture_of(name: str | os.PathLike[str]) -> tuple[str, str]:
    """Say what to load a file as, a folder or a name of open_clip, and by what that is known.

    The configuration that lies beside it goes first, then its tensors, where the models of open_clip with as many
    parameters in each tower are one, or two that differ in the activation alone.

    Raises:
        WeightsError: No such file, a broken one, or one whose tensors fit no model or several: the message lists them.

    Example:
        >>> architecture_of("weights.pt")
        Traceback (most recent call last):
        denseclip_viz.errors.WeightsError: The checkpoint weights.pt does not exist. ...
    """
    file = local_file(name)
    if holds_config(file.parent):
        return str(file.parent), "the architecture is that of the configuration beside the file"
    fits = fitting_models(in_open_clips_names(read_checkpoint(file)).shapes)
    if len(fits) != 1:
        raise _unclear(file, fits)
    return fits[0], "the architecture was told by the sizes of the tensors"


def _unclear(file: Path, fits: list[str]) -> WeightsError:
    got = f"{file} says by its tensors alone not what it is a model of"
    if fits:
        return WeightsError(f"{got}: they have the sizes of {some(fits, 9)}", expected="one", fix=_fix(fits[0], file))
    got += ": no model of open_clip has two towers with as many parameters"
    return WeightsError(got, expected="the weights of a whole CLIP", fix=_fix("ViT-B-32", file))


def _fix(name: str, file: Path) -> str:
    return f"Pass the name of its architecture, and the file beside it: name={name!r}, pretrained={str(file)!r}, say."
