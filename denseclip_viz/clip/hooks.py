"""Observe a tower without changing it: taps on modules, attention calls, and parameters swapped for one thread.

Three tools, all of them context managers that leave the model as it was, also after an exception or an interrupt:

- `on_forward` calls back with the input and output of modules,
- `active_in` switches an `InterceptAttention` on while one module runs: it sees attention calls and may stand in,
- `record` is the researcher's front end: named taps, wildcards, negative indices.
"""

import difflib
import fnmatch
import itertools
import re
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode, _get_current_function_mode_stack, _pop_mode, _push_mode

from denseclip_viz.clip.attention import AttentionCall, attention_call
from denseclip_viz.errors import LayerError

Callback = Callable[[tuple[Any, ...], Any], Any]
OnAttention = Callable[[AttentionCall], "Tensor | None"]


@dataclass(frozen=True)
class Tap:
    """A named place in a tower: the module to listen to, and what to take there.

    `take` is `input`, `output`, or a part of the attention call that runs inside the module: `query`, `key`,
    `value`, `attention`. With `pooled`, only the row of the pooling query is taken. A module whose maps are
    `(image, y, x, C)` is `channels_last`; what is taken is always `(image, C, y, x)`.
    """

    module: nn.Module
    take: str = "output"
    pooled: bool = False
    channels_last: bool = False

    def raw(self, inputs: tuple[Any, ...], output: Any) -> Tensor:
        """Take this tap's map or stream, as the tower made it, off what went into a module and what came out."""
        taken: Tensor = inputs[0] if self.take == "input" else output[0] if isinstance(output, tuple) else output
        return taken

    def channels_first(self, map_or_stream: Tensor) -> Tensor:
        """Lay a map out as `(image, C, y, x)`; a stream of tokens stays as it is."""
        return map_or_stream.permute(0, 3, 1, 2) if self.channels_last else map_or_stream

    def map(self, inputs: tuple[Any, ...], output: Any) -> Tensor:
        """Take this tap's map or stream, and lay it out."""
        return self.channels_first(self.raw(inputs, output))

    def part(self, call: AttentionCall) -> Tensor:
        """Take this tap's part of an attention call: `(image, head, row, …)`, or without `row` if pooled."""
        rows = slice(0, 1) if self.pooled and self.take in ("query", "attention") else slice(None)
        part = call.weights(rows) if self.take == "attention" else call.part(self.take, rows)
        return part[:, :, 0] if rows.stop == 1 else part


class ThreadMode(TorchFunctionMode):
    """A torch function mode whose end takes it off if it is on: an interrupt may have done so, which is no error."""

    def __exit__(self, *_: object) -> None:
        take_off(self)


class InterceptAttention(ThreadMode):
    """See every attention call of this thread, and swap parameters for this thread only.

    Args:
        on_attention: Called with each attention call; what it returns stands in for the heads' outputs, `None`
            lets the call run as it is.
        swap: `{id(parameter): tensor}`; operations that take the parameter get the tensor instead. This is how a
            positional embedding is resized without touching the model.
        shown: Let a call that was stood in for run all the same, for whoever else listens.
    """

    def __init__(
        self, on_attention: OnAttention | None = None, *, swap: Mapping[int, Tensor] | None = None, shown: bool = False
    ) -> None:
        super().__init__()
        self.on_attention, self.swap, self.shown = on_attention, dict(swap or {}), shown

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if self.swap:  # by identity: a parameter equal to another one by chance is not meant
            args = tuple(self.swap.get(id(argument), argument) for argument in args)
        call = attention_call(func, args, kwargs) if self.on_attention else None
        heads = self.on_attention(call) if self.on_attention and call else None
        # torch has switched this mode off while it runs the handler, so neither call comes back here
        plain = func(*args, **kwargs) if heads is None or self.shown else None
        return plain if heads is None or call is None else call.output(heads)


@contextmanager
def on_forward(module: nn.Module, callback: Callback) -> Iterator[None]:
    """Call `callback(inputs, output)` after each run of `module` in this thread; what it returns stands in.

    Example:
        >>> import torch
        >>> shapes, layer = [], torch.nn.Linear(2, 2)
        >>> with on_forward(layer, lambda inputs, output: shapes.append(output.shape)):
        ...     _ = layer(torch.zeros(3, 2))
        >>> shapes, len(layer._forward_hooks)
        ([torch.Size([3, 2])], 0)
    """
    owner = threading.get_ident()  # a hook hangs on the module, which other threads may be running too

    def hook(_module: nn.Module, inputs: tuple[Any, ...], output: Any) -> Any:
        return callback(inputs, output) if threading.get_ident() == owner else None

    with _hung(module, hook):
        module.register_forward_hook(hook)
        yield


@contextmanager
def active_in(
    module: nn.Module, mode: InterceptAttention, *, on_entry: Callable[[tuple[Any, ...]], None] | None = None
) -> Iterator[None]:
    """Switch `mode` on while `module` runs in this thread, and only then; `on_entry(inputs)` is called before.

    Narrow on purpose: while the mode is on, PyTorch leaves its fused attention path, and results may differ from a
    plain pass in the last bits.
    """
    owner = threading.get_ident()

    def enter(_module: nn.Module, inputs: tuple[Any, ...]) -> None:
        if threading.get_ident() == owner:
            if on_entry:
                on_entry(inputs)
            _push_mode(mode)

    def leave(_module: nn.Module, _inputs: tuple[Any, ...], _output: Any) -> None:
        if threading.get_ident() == owner:
            take_off(mode)

    try:
        with _hung(module, enter), _hung(module, leave):
            module.register_forward_pre_hook(enter)
            module.register_forward_hook(leave, always_call=True)  # also if the module raises
            yield
    except BaseException as error:
        end_interrupted(error)
        raise
    finally:  # an interrupt skips even hooks that are always called
        while take_off(mode):
            pass


def take_off(mode: TorchFunctionMode) -> bool:
    """Take a mode off this thread's stack, with what an interrupt left above it; tell whether it was there."""
    is_on = mode in _get_current_function_mode_stack()
    while is_on and _pop_mode() is not mode:
        pass
    return is_on


def end_interrupted(error: BaseException) -> None:
    """End the context managers that an interrupt kept from ending, now and not when somebody forgets the error.

    One of torch's own would then put back a mode that it had put aside.
    """
    if not isinstance(error, Exception):
        traceback.clear_frames(error.__traceback__)


# Thread, module and hook by a number that never comes again: an id does, for the next hook of any thread.
_HANGING: dict[int, tuple[int, nn.Module, Callable[..., None]]] = {}
_NUMBERS = itertools.count()


@contextmanager
def _hung(module: nn.Module, hook: Callable[..., None]) -> Iterator[None]:
    """Know a hook from before it hangs until after it is off, so that no interrupt can make it forgotten."""
    number = next(_NUMBERS)
    try:
        _HANGING[number] = threading.get_ident(), module, hook
        yield
    finally:
        remove_hooks({number})


def hanging() -> frozenset[int]:
    """List what hangs on modules for this thread."""
    return frozenset(key for key, (thread, *_) in list(_HANGING.items()) if thread == threading.get_ident())


def remove_hooks(keys: Iterable[int]) -> None:
    """Take hooks off by what `hanging` lists; one that is off already is no error."""
    for key, (_, module, hook) in [(key, _HANGING[key]) for key in keys if key in _HANGING]:
        for table in (module._forward_hooks, module._forward_pre_hooks):
            for number in [number for number, one in list(table.items()) if one is hook]:
                module._forward_hooks_always_called.pop(number, None)  # first: what is off the table is not looked for
                table.pop(number, None)
        _HANGING.pop(key, None)


class Recording(Mapping[str, Tensor]):
    """What the taps saw: `record["layer3"]` is the newest tensor, `record.calls("layer3")` all, oldest first."""

    def __init__(self, names: Sequence[str]) -> None:
        self._calls: dict[str, list[Tensor]] = {name: [] for name in names}

    def calls(self, name: str) -> tuple[Tensor, ...]:
        """Return all tensors that a tap saw, oldest first."""
        if name not in self._calls:
            raise unknown_layer(name, list(self._calls), "this record holds", fix="Record it, too.")
        return tuple(self._calls[name])

    def __getitem__(self, name: str) -> Tensor:
        calls = self.calls(name)
        if not calls:
            raise _never_fired([name])
        return calls[-1]

    def __iter__(self) -> Iterator[str]:
        return iter(self._calls)

    def __len__(self) -> int:
        return len(self._calls)

    def __repr__(self) -> str:
        rows = [f"{name}: {[tuple(t.shape) for t in calls]}" for name, calls in self._calls.items()]
        return f"Recording({', '.join(rows)})"


@contextmanager
def record(taps: Mapping[str, Tap], patterns: Sequence[str], *, raw: bool = False) -> Iterator[Recording]:
    """Record the taps that `patterns` name, for runs of the tower in this thread.

    Args:
        taps: All taps of a tower by name.
        patterns: Names, wildcards (`layer*`), negative indices (`blocks.-1`).
        raw: Keep the very tensors that the tower goes on with, for gradients, whatever their layout.

    Raises:
        LayerError: a pattern that names no tap, or (on leaving) a tap that never fired.
    """
    names = match(patterns, list(taps))
    recorded = Recording(names)
    before, own = hanging(), frozenset[int]()
    try:
        with ExitStack() as stack:
            for name in names:
                stack.enter_context(_listen(taps[name], recorded._calls[name].append, raw))
            own = hanging() - before
            yield recorded
    finally:  # again, for an interrupt in the stack itself
        remove_hooks(own)
    silent = [name for name in names if not recorded.calls(name)]
    if silent:
        raise _never_fired(silent)


@contextmanager
def _listen(tap: Tap, keep: Callable[[Tensor], None], raw: bool) -> Iterator[None]:
    if tap.take in ("input", "output"):
        take = tap.raw if raw else tap.map
        with on_forward(tap.module, lambda inputs, output: keep(take(inputs, output))):
            yield
    else:
        with active_in(tap.module, InterceptAttention(lambda call: keep(tap.part(call)))):
            yield


def _never_fired(names: Sequence[str]) -> LayerError:
    return LayerError(
        f"nothing was recorded at {summary(names)}",
        expected="the tower to run in this thread inside the `with` block",
        fix="Call model.encode_image(...) or model.trace(...) inside it.",
    )


def has_hooks(*modules: nn.Module) -> bool:
    """Tell whether anybody listens to one of these modules, or to all modules at once."""
    everywhere = nn.modules.module
    if everywhere._global_forward_hooks or everywhere._global_forward_pre_hooks:
        return True
    return any([module._forward_hooks or module._forward_pre_hooks for module in modules])


def match(patterns: str | Sequence[str], names: Sequence[str]) -> list[str]:
    """Turn patterns into the names that they mean, in the tower's order, each once; `"*"` alone means all.

    Raises:
        LayerError: a pattern that names nothing.

    Example:
        >>> match(["layer*", "blocks.-1"], ["layer1", "layer2", "blocks.0", "blocks.1"])
        ['layer1', 'layer2', 'blocks.1']
    """
    patterns = [patterns] if isinstance(patterns, str) else list(patterns)
    chosen: set[str] = set()
    for pattern in patterns:
        if not isinstance(pattern, str):
            raise LayerError(f"layer {pattern!r} is a {type(pattern).__name__}", expected="names", fix="Use text.")
        matching = fnmatch.filter(names, _positive(pattern, names))
        if pattern != "*":  # `layer*` means the layers, not everything inside them
            matching = [n for n in matching if n.count(".") == pattern.count(".")] or matching
        if not matching:
            raise unknown_layer(pattern, names, "the taps there are")
        chosen.update(matching)
    return [name for name in names if name in chosen]


def _positive(pattern: str, names: Sequence[str]) -> str:
    parts = pattern.split(".")
    for place, part in enumerate(parts):
        if re.fullmatch(r"-\d+", part):
            prefix = ".".join([*parts[:place], ""])
            heads = {n[len(prefix) :].split(".")[0] for n in names if n.startswith(prefix)}
            parts[place] = str(sum(head.isdigit() for head in heads) + int(part))
    return ".".join(parts)


def unknown_layer(name: str, names: Sequence[str], what: str, *, fix: str = "") -> LayerError:
    """Make the error for a name that is not there, with the closest names first."""
    close = difflib.get_close_matches(name, names, n=3)
    hint = f"Did you mean {', '.join(close)}?" if close else fix or _hint(names)
    return LayerError(f"no layer or tap is named {name!r}", expected=f"{what}: {summary(names)}", fix=hint)


def _hint(names: Sequence[str]) -> str:
    """Say what else works: to count from the end only names that have numbers."""
    numbered = next((parts[1] for name in names if (parts := re.match(r"(.*?\.)\d+(\.|$)", name))), None)
    return f"Wildcards and negative indices work: '{numbered}-1'." if numbered else "Wildcards work: '*' for all."


def summary(names: Sequence[str]) -> str:
    """Shorten numbered names: `blocks.0 … blocks.11` are said once.

    Example:
        >>> summary(["stem", "blocks.0", "blocks.1", "blocks.2", "blocks.0.mlp", "blocks.1.mlp"])
        'stem, blocks.0–2, blocks.0–1.mlp'
    """
    groups: dict[str, list[int]] = {}
    for name in names:
        numbers = [int(n) for n in re.findall(r"(?<=\.)\d+", name)]
        groups.setdefault(re.sub(r"(?<=\.)\d+", "#", name, count=1), []).extend(numbers[:1] or [0])
    spans = {form: f"{min(n)}–{max(n)}" if min(n) < max(n) else str(n[0]) for form, n in groups.items()}
    return ", ".join(form.replace("#", spans[form]) for form in groups)
