"""What is installed: the first thing to read when something does not fit."""

import platform
from importlib import metadata

PACKAGES = "denseclip_viz torch torchvision open_clip_torch timm transformers numpy pillow xarray matplotlib".split()


def show_versions() -> str:
    """Say the versions, one a line, and whether torch and torchvision fit each other.

    Returns:
        The text; the command `denseclip-viz versions` prints it.

    Example:
        >>> show_versions().startswith("python")
        True
    """
    import torch

    facts = {"python": platform.python_version(), **{package: _version_of(package) for package in PACKAGES}}
    facts["device"] = f"cuda ({torch.cuda.get_device_name()})" if torch.cuda.is_available() else "cpu"
    return "\n".join([*(f"{name:16} {fact}" for name, fact in facts.items()), _torchvision()])


def _version_of(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _torchvision() -> str:
    try:
        import torchvision  # noqa: F401
    except RuntimeError as error:  # torch and torchvision from different builds
        return f"torchvision does not fit torch ({error}): install both from one index in one command"
    return "torch and torchvision fit each other"
