"""Private copies of a module's structure on the same weights: for another input size, and to run a part unseen."""

from types import MethodType
from typing import Any, TypeVar

import torch
from torch import nn

from denseclip_viz.errors import GeometryError, silenced

Module = TypeVar("Module", bound=nn.Module)

_HOOKS = tuple(name for name in vars(nn.Module()) if "_hooks" in name)  # tables of hooks, and of their options


def shared_copy(module: Module, *, hooks: bool = True) -> Module:
    """Copy the structure of a module, not its weights: both hold the same parameters and buffers.

    What is set on the copy stays there. Hooks that are on the module fire on the copy too, unless `hooks` is off.

    Example:
        >>> layer = nn.Sequential(nn.Linear(2, 2))
        >>> other = shared_copy(layer)
        >>> other[0].weight is layer[0].weight, other[0] is layer[0]
        (True, False)
    """
    return _copied(module, hooks, {})


def _copied(module: Module, hooks: bool, done: dict[int, Any]) -> Module:
    if id(module) in done:  # a module that stands in two places is one module in the copy too
        copied: Module = done[id(module)]
        return copied
    # Not copy.deepcopy, which would copy the weights too; not __init__, whose arguments nobody knows any more
    other = module.__class__.__new__(module.__class__)
    done[id(module)] = other
    state = {name: _own(value, module, other) for name, value in vars(module).items()}
    state["_compiled_call_impl"] = None  # it is bound to the original
    state["_modules"] = {n: None if m is None else _copied(m, hooks, done) for n, m in module._modules.items()}
    vars(other).update(state)
    if not hooks:
        for name in _HOOKS:
            state[name].clear()
    return other


def _own(value: Any, module: nn.Module, other: nn.Module) -> Any:
    """Give a copy its own containers, so that nothing is set in the original's, and its own methods."""
    # A method that was set on the instance (a patched forward) would run the original behind the copy's back
    if isinstance(value, MethodType) and value.__self__ is module:
        return MethodType(value.__func__, other)
    return value.copy() if isinstance(value, (dict, list, set)) else value


def _hang(hooks_of: nn.Module, other: nn.Module) -> None:
    """Let the hooks of a module and of all in it fire on its copy too."""
    for module, copied in zip(hooks_of.modules(), other.modules(), strict=True):
        for name in _HOOKS:
            if hung := vars(module)[name]:
                vars(copied)[name].update(hung)


def at_input_size(visual: Module, size: tuple[int, int]) -> Module:
    """Give a timm tower of open_clip for another input size: itself, or a shared copy whose tables are resized.

    Args:
        visual: A `TimmModel`; one without tables of positions takes any size as it is.
        size: `(height, width)` in pixels.

    Raises:
        GeometryError: the architecture cannot read this size; the message says which are possible.

    Source: timm's `set_input_size`, which changes the model it is called on; here that is the copy.
    """
    trunk: Any = visual.get_submodule("trunk")
    embed = getattr(trunk, "patch_embed", None)
    if embed is None or getattr(embed, "img_size", None) is None or tuple(embed.img_size) == size:
        return visual
    other = shared_copy(visual, hooks=False)  # timm may run a part on zeros to find its size: nobody's hooks see that
    inner: Any = other.get_submodule("trunk")
    try:
        # timm's interpolation makes torch remark on its speed and its style
        with silenced(r"torch\.searchsorted|Using a non-tuple sequence"):
            inner.set_input_size(img_size=size)
    except torch.OutOfMemoryError:
        raise
    except (AssertionError, AttributeError, RuntimeError, ValueError) as error:
        raise GeometryError(
            f"an input of {size[0]} x {size[1]} pixels for a {type(trunk).__name__} ({error})",
            expected=f"{embed.img_size[0]} x {embed.img_size[1]}, the size that it was made for",
            fix="Take geometry='native'.",
        ) from error
    _hang(visual, other)
    return other
