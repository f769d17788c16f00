"""What is installed: the first thing to read when something does not fit."""

import platform
import shutil
import subprocess
from importlib import metadata

from packaging.requirements import Requirement

PACKAGES = "denseclip_viz torch torchvision open_clip_torch timm transformers numpy pillow xarray matplotlib".split()
_GPUS = ("nvidia-smi", "--query-gpu=name", "--format=csv,noheader")
MISFIT = "install both again, from one index, in one command"


def show_versions() -> str:
    """Say the versions, one a line, and whether torch and torchvision are of one build; none of them is imported.

    Returns:
        The text; the command `denseclip-viz versions` prints it.

    Example:
        >>> import denseclip_viz as dcv
        >>> dcv.show_versions().startswith("python")
        True
    """
    *facts, (_, fit) = versions().items()
    return "\n".join([*(f"{name:16} {fact}" for name, fact in facts), fit])


def versions() -> dict[str, str]:
    """Give the version of each package by its name, then the GPUs, and whether torch and torchvision fit each other.

    Example:
        >>> list(versions())[0], list(versions())[-1]
        ('python', 'fit')
    """
    packages = {package: _version_of(package) for package in PACKAGES}
    return {"python": platform.python_version(), **packages, "gpu": _gpus(), "fit": _torchvision()}


def _version_of(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _gpus() -> str:
    """Ask the driver, as torch's own report does: torch would take seconds to start."""
    if shutil.which(_GPUS[0]) is None:
        return "no nvidia-smi"
    try:
        asked = subprocess.run(_GPUS, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        return f"nvidia-smi does not answer ({error})"
    return ", ".join(asked.stdout.split("\n")).strip(", ")


def _torchvision() -> str:
    """Compare what the packages say of themselves: which version is due, and of which build each is (+cpu, +cu128)."""
    torch, vision = _version_of("torch"), _version_of("torchvision")
    if "not installed" in (torch, vision):
        return f"torch or torchvision is missing: {MISFIT}"
    needs = [Requirement(line) for line in metadata.requires("torchvision") or ()]
    due = next((need.specifier for need in needs if need.name == "torch"), None)
    if due is not None and not due.contains(torch, prereleases=True):
        return f"torchvision {vision} is for torch {due}, but torch is {torch}: {MISFIT}"
    if torch.partition("+")[2] != vision.partition("+")[2]:
        return f"torch {torch} and torchvision {vision} are of two builds: {MISFIT}"
    return "torch and torchvision fit each other"
