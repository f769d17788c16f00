"""What is installed: the first thing to read when something does not fit."""

import platform
from importlib import metadata

PACKAGES = "denseclip_viz torch torchvision open_clip_torch timm transformers numpy pillow xarray matplotlib".split()


def versions() -> dict[str, str]:
    """Read the versions of this package and of what it stands on.

    Example:
        >>> "torch" in versions()
        True
    """
    installed = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            installed[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            installed[package] = "not installed"
    return installed


def show_versions() -> str:
    """Say the versions, one a line, and whether torch and torchvision fit each other.

    Returns:
        The text; the command `denseclip-viz versions` prints it.

    Example:
        >>> show_versions().startswith("python")
        True
    """
    lines = [f"{name:16} {version}" for name, version in versions().items()]
    return "\n".join([*lines, f"{'device':16} {_device()}", _torchvision()])


def _device() -> str:
    import torch

    return f"cuda ({torch.cuda.get_device_name()})" if torch.cuda.is_available() else "cpu"


def _torchvision() -> str:
    try:
        import torchvision  # noqa: F401
    except RuntimeError as error:  # torch and torchvision from different builds
        return f"torchvision does not fit torch ({error}): install both from one index in one command"
    return "torch and torchvision fit each other"
