"""Weights in several files, with an index that says which tensor is in which."""

from pathlib import Path

from denseclip_viz.clip.load.source import fetch_again
from denseclip_viz.clip.load.weights import Checkpoint, local_file, read_checkpoint
from denseclip_viz.errors import WeightsError, first_line
from denseclip_viz.files import read_json
from denseclip_viz.validation import some

INDEX = ".index.json"


def files_of(file: Path) -> tuple[Path, ...]:
    """List the files that weights are in: the file itself, or an index and the shards that it names.

    Raises:
        WeightsError: An index that cannot be read, or that names no files beside it.

    Example:
        >>> files_of(Path("model.safetensors"))
        (...Path('model.safetensors'),)
    """
    return (file, *(local_file(file.parent / name) for name in shards_in(file)))


def shards_in(file: Path) -> list[str]:
    """Name the files that an index names, which lie beside it; a file of weights itself names none.

    Raises:
        WeightsError: An index that cannot be read, or that names no files beside it.
    """
    if not file.name.endswith(INDEX):
        return []
    names = set(_places(file).values())
    if outside := [str(name) for name in names if not isinstance(name, str) or Path(name).name != name or not name]:
        got, expected = f"{file} names {some(outside)}", "names of files beside it"
        raise WeightsError(got, expected=expected, fix=fetch_again(file))
    return sorted(names)


def read_weights(file: Path) -> Checkpoint:
    """Read a checkpoint from a file, or from all that an index names; each tensor must be where the index says.

    Raises:
        WeightsError: As `weights.read_checkpoint`, or an index that does not fit its files.
    """
    first, *shards = files_of(file)
    if not shards:
        return read_checkpoint(first)
    read = [(shard.name, read_checkpoint(shard).tensors) for shard in shards]
    held = {tensor: name for name, tensors in read for tensor in tensors}
    places = _places(file)
    if wrong := [tensor for tensor in held.keys() | places.keys() if held.get(tensor) != places.get(tensor)]:
        got, expected = f"{file.name} does not fit its files ({some(wrong)})", "each tensor where the index says"
        raise WeightsError(got, expected=expected, fix=fetch_again(file))
    return Checkpoint(file, {tensor: value for _, tensors in read for tensor, value in tensors.items()})


def _places(index: Path) -> dict[str, str]:
    try:
        places = read_json(index).get("weight_map")
    except (OSError, ValueError) as error:
        got = f"{index} cannot be read ({first_line(error)})"
        raise WeightsError(got, expected="an index of weights files", fix=fetch_again(index)) from error
    if not isinstance(places, dict) or not places:
        got = f"{index} names no files in weight_map"
        raise WeightsError(got, expected="an index of weights files", fix=fetch_again(index))
    return places
