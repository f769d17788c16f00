"""The notebooks that come with the package, copied to where a person works on them."""

import hashlib
import json
import os
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from denseclip_viz.errors import OutputError
from denseclip_viz.files import make_folder, save_bytes

RECORD = ".denseclip-viz.json"  # in the copy: the hash of what each file said when it was copied
START = "00_quickstart.ipynb"


@dataclass(frozen=True)
class Copies:
    """What became of each file in a folder, by name: new, updated, or edited by its owner and left alone."""

    folder: Path
    new: tuple[str, ...] = ()
    updated: tuple[str, ...] = ()
    edited: tuple[str, ...] = ()

    def __str__(self) -> str:
        counts = [f"{len(names)} {what}" for names, what in ((self.new, "copied"), (self.updated, "updated")) if names]
        line = f"{self.folder}: {', '.join(counts) or 'up to date'}"
        if not self.edited:
            return line
        return f"{line}\nkept as you changed them: {', '.join(self.edited)} (move one away to get a fresh one)"


def shipped() -> Path:
    """Find the notebooks of this installation: in the wheel, or in the repository beside the package.

    Raises:
        OutputError: an installation without them.

    Example:
        >>> (shipped() / "README.md").is_file()
        True
    """
    package = Path(__file__).parents[1]
    for folder in (package / "notebooks", package.parent / "notebooks"):
        if folder.is_dir():
            return folder
    fix = "Install the package again from its wheel or repository."
    raise OutputError("no notebooks came with this installation", expected=f"a folder {folder}", fix=fix)


def copy_notebooks(folder: str | os.PathLike[str]) -> Copies:
    """Copy the notebooks into a folder; what its owner changed since they were copied stays.

    A notebook is replaced only while its cells read as an earlier call copied them: to run it is no change. Any other
    file must be the same byte for byte. The folder is created if it is not there; the notebooks' own folder is left
    as it is.

    Raises:
        OutputError: a folder that cannot be created or written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     first, second = copy_notebooks(folder), copy_notebooks(folder)
        >>> "README.md" in first.new, second.new
        (True, ())
    """
    source, target = shipped(), make_folder(folder)
    if source.samefile(target):
        return Copies(target)
    record, names = _read_record(target), {"new": list[str](), "updated": list[str](), "edited": list[str]()}
    for name in _names(source):
        shipped_hash = _hash(source / name)
        state = _state(shipped_hash, _hash(target / name), record.get(name))
        if state in ("new", "updated"):
            make_folder((target / name).parent)
            save_bytes((source / name).read_bytes(), target / name, [Path(name).suffix], force=True)
        if state != "edited":
            record[name] = shipped_hash
        names.setdefault(state, []).append(name)
    save_bytes(json.dumps(record, indent=1, sort_keys=True).encode(), target / RECORD, [".json"], force=True)
    return Copies(target, *(tuple(names[state]) for state in ("new", "updated", "edited")))


def check_jupyterlab() -> None:
    """Refuse to open what cannot be opened; before copying, not after.

    Raises:
        OutputError: JupyterLab is not installed here.
    """
    if find_spec("jupyterlab") is None:
        raise OutputError(
            "JupyterLab is not installed here",
            expected="the package jupyterlab beside this one",
            fix='pip install "denseclip_viz[notebooks]"; or pass --no-open and open the folder with your own Jupyter.',
        )


def open_lab(folder: Path, options: list[str]) -> None:
    """Open JupyterLab on a folder, at the first notebook, and stay until it is closed."""
    from jupyterlab.labapp import LabApp

    first = [f"--LabApp.default_url=/lab/tree/{START}"] if (folder / START).is_file() else []
    LabApp.launch_instance([f"--ServerApp.root_dir={folder.resolve()}", *first, *options])


def _state(shipped: str, present: str, copied: str | None) -> str:
    """Compare hashes: of the file that ships, of the one in the folder, and of the one an earlier call copied."""
    if not present:
        return "new"
    if present == shipped:
        return "same"
    return "updated" if present == copied else "edited"


def _names(source: Path) -> list[str]:
    """List what is copied by its relative name; nothing hidden, such as Jupyter's checkpoints."""
    paths = [path.relative_to(source) for path in sorted(source.rglob("*")) if path.is_file()]
    return [path.as_posix() for path in paths if not any(part.startswith(".") for part in path.parts)]


def _read_record(folder: Path) -> dict[str, str]:
    """Read the record; an unreadable one counts as none: then everything that differs is its owner's."""
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {str(name): str(value) for name, value in record.items()} if isinstance(record, dict) else {}


def _hash(path: Path) -> str:
    """Hash what a file says, empty where nothing is; what is no file matches nothing, so that it stays."""
    if not os.path.lexists(path):
        return ""
    return hashlib.sha256(_authored(path.read_bytes())).hexdigest() if path.is_file() else "no file"


def _authored(data: bytes) -> bytes:
    """Keep of a notebook what its author wrote: neither what running adds nor the empty cell that Jupyter appends."""
    try:
        cells = [(cell["cell_type"], "".join(cell["source"])) for cell in json.loads(data)["cells"]]
    except (ValueError, KeyError, TypeError):
        return data
    return json.dumps([(kind, source) for kind, source in cells if source.strip()]).encode()
