"""One guard at every public entry: what a caller has set around a call reaches no pass in it, and is there after it.

Autocast, inference mode, a default device, torch.compile and NumPy's error state are kept for a thread, so they are
put aside for one thread. The default dtype is kept for the process, and is not touched: other threads would see it.
What makes tensors names their dtype instead.
"""

import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any, TypeVar, cast

import numpy as np
import torch
from torch import nn
from torch._C._dynamo.eval_frame import set_eval_frame
from torch.overrides import TorchFunctionMode, _get_current_function_mode_stack, _pop_mode, _push_mode
from torch.utils._device import DeviceContext

from denseclip_viz.clip.hooks import end_interrupted, hanging, remove_hooks
from denseclip_viz.errors import LayerError

T = TypeVar("T", bound=Callable[..., Any])
_DEVICES = ("cpu", "cuda", "mps", "xpu")  # whose autocast can be on
_END = object()


class Surroundings:
    """What torch and NumPy keep for this thread, as it is now.

    `leave` makes it what a pass expects: no gradients unless it asks for them, and nothing else. `restore` sets every
    part to what it was, whatever happened in between, and may be repeated: so an interrupt in the middle of it, or in
    any clean-up before it, leaves nothing behind.

    Example:
        >>> outside = Surroundings()
        >>> outside.leave()
        >>> torch.is_grad_enabled()
        False
        >>> outside.restore()
        >>> torch.is_grad_enabled()
        True
    """

    def __init__(self) -> None:
        self.hooks = hanging()
        self.modes = _get_current_function_mode_stack()
        self.autocast = [kind for kind in _DEVICES if torch.is_autocast_enabled(kind)]
        self.errors = np.geterr()
        self.grad = torch.is_grad_enabled()
        self.inference = torch._C._InferenceMode(False) if torch.is_inference_mode_enabled() else None

    def leave(self) -> None:
        """Put aside whatever could change a number."""
        if self.inference is not None:
            self.inference.__enter__()
        torch.set_grad_enabled(False)
        for kind in self.autocast:
            torch.set_autocast_enabled(kind, False)
        _set_modes([mode for mode in self.modes if not isinstance(mode, DeviceContext)])
        np.seterr(divide="warn", over="warn", under="ignore", invalid="warn")

    def restore(self) -> None:
        """Set everything to what it was, and take off hooks and modes that an interrupt left hanging."""
        remove_hooks(hanging() - self.hooks)
        _set_modes(self.modes)
        for kind in _DEVICES:
            torch.set_autocast_enabled(kind, kind in self.autocast)
        if self.inference is not None:
            self.inference.__exit__(None, None, None)
        torch.set_grad_enabled(self.grad)
        np.seterr(**self.errors)


def _set_modes(modes: list[TorchFunctionMode]) -> None:
    """Let these be the torch function modes of this thread."""
    now = _get_current_function_mode_stack()
    if list(map(id, now)) != list(map(id, modes)):
        for _ in now:
            _pop_mode()
        for mode in modes:
            _push_mode(mode)


def _uncompiled(function: T) -> T:
    """Let torch.compile call it without a look inside; torch.compiler.disable would load the whole compiler."""
    function._torchdynamo_disable = True  # type: ignore[attr-defined]
    return function


def guarded(thing: T) -> T:
    """Let a function, a generator, or every public method of a class run in surroundings of its own.

    A generator has them while it makes an item, and its caller has his own while he looks at it.

    Example:
        >>> @guarded
        ... def multiply(a, b):
        ...     return (a @ b).dtype
        >>> with torch.autocast("cpu", torch.bfloat16):
        ...     multiply(torch.ones(2, 2), torch.ones(2, 2))
        torch.float32
    """
    if inspect.isclass(thing):
        for name, method in list(vars(thing).items()):
            if inspect.isfunction(method) and not name.startswith("_"):
                setattr(thing, name, guarded(method))
        return thing

    @functools.wraps(thing)
    def call(*args: Any, **kwargs: Any) -> Any:
        return _run(thing, *args, **kwargs)

    @functools.wraps(thing)
    def iterate(*args: Any, **kwargs: Any) -> Iterator[Any]:
        items = thing(*args, **kwargs)
        try:
            while (item := _run(next, items, _END)) is not _END:
                yield item
        finally:
            _run(items.close)

    return cast(T, _uncompiled(iterate if inspect.isgeneratorfunction(thing) else call))


def _run(function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    compiler, outside = _stop_compiler(), Surroundings()
    try:
        try:
            outside.leave()
            return function(*args, **kwargs)
        except BaseException as error:
            end_interrupted(error)
            raise
        finally:
            outside.restore()
    finally:  # again, for an interrupt on the way through the first
        outside.restore()
        set_eval_frame(compiler)


@_uncompiled
def _stop_compiler() -> Any:
    """Let torch.compile see no call of this thread any more; give what it sees them by."""
    return set_eval_frame(None)


def check_eval(module: nn.Module, *, beside: str = "", fix: str = "Call model.clip.eval().") -> None:
    """Refuse a model in training mode: its statistics would change, and its answers vary.

    Args:
        module: A tower, or the whole model.
        beside: The name of a part that is not looked at, and its owner's own flag with it.
        fix: What the error advises.

    Raises:
        LayerError: some part is in training mode.
    """
    if not any(part.training for part in module.modules()):
        return
    parts = [(name, part) for name, part in module.named_modules() if part.training]
    if beside:
        parts = [(name, part) for name, part in parts if name and name.partition(".")[0] != beside]
    if parts:
        got = f"{parts[0][0] or 'the tower'} is in training mode"
        raise LayerError(got, expected="a model in eval mode", fix=fix)


def products_of_float32() -> str:
    """Tell how torch multiplies float32, which a caller may have shortened: `torch.set_float32_matmul_precision`.

    Example:
        >>> products_of_float32()
        'exact'
    """
    places = (getattr(backend, "matmul", None) for backend in (torch.backends.cuda, torch.backends.mkldnn))
    set_to = [torch.get_float32_matmul_precision(), *(getattr(place, "fp32_precision", "none") for place in places)]
    return ", ".join(name for name in set_to if name not in ("highest", "none", "ieee")) or "exact"
