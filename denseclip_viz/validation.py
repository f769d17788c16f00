"""Sizes that can be, or an error that names the one that cannot."""

import errno
import itertools
import math
import os
import stat
from collections.abc import Iterable, Mapping, Sequence, Set
from numbers import Integral, Real
from pathlib import Path
from typing import TypeGuard, TypeVar
from unicodedata import bidirectional, category, normalize

from denseclip_viz.errors import DenseclipVizError, GeometryError, LayerError, OutputError, PromptError

Size = tuple[int, int]
Function = TypeVar("Function")
_STEERING = ("Cc", "Cs", "Zl", "Zp")
_TURNING = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")


def pair(value: object, name: str, *, least: int = 1) -> Size:
    """Read two whole numbers, as plain ints."""
    listed = value.tolist() if hasattr(value, "tolist") else value  # an array, without NumPy for those who have none
    pair = tuple(listed) if isinstance(listed, (tuple, list)) else ()
    if len(pair) != 2 or not all(is_whole(n) for n in pair):
        expected, fix = "two whole numbers (height, width)", "Give the height first."
        raise GeometryError(f"{name}={value!r}", expected=expected, fix=fix)
    if not all(least <= n < 2**31 for n in pair):
        expected = f"numbers from {least} to 2**31 - 1"
        raise GeometryError(f"{name}={value!r}", expected=expected, fix="Check how it was computed.")
    return int(pair[0]), int(pair[1])


def is_whole(value: object, low: float = -math.inf) -> TypeGuard[int]:
    """Say whether this is a whole number from `low`, and no boolean.

    Example:
        >>> is_whole(3, 1), is_whole(0, 1), is_whole(True), is_whole(3.0)
        (True, False, False, False)
    """
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= low


def is_real(value: object) -> TypeGuard[float]:
    """Say whether this is a number of any kind, NaN included, and no boolean."""
    return isinstance(value, Real) and not isinstance(value, bool)


def is_number(value: object, low: float = -math.inf, high: float = math.inf, *, ends: bool = True) -> TypeGuard[float]:
    """Say whether this is a finite number in a range, with its ends or without, and no boolean.

    Example:
        >>> is_number(1, 0, 1), is_number(1, 0, 1, ends=False), is_number(float("nan")), is_number("1")
        (True, False, False, False)
    """
    if not is_real(value) or not -math.inf < value < math.inf:
        return False
    return low <= value <= high if ends else low < value < high


def one_of(
    value: object,
    allowed: Sequence[object],
    what: str,
    *,
    error: type[DenseclipVizError] = GeometryError,
    expected: str = "",
    fix: str = "Pick one of these.",
) -> None:
    """Refuse a name or a switch that is not among these; 1 is no True, and 0 no False.

    Example:
        >>> one_of("tile", ("native", "tiles"), "mode")
        Traceback (most recent call last):
        denseclip_viz.errors.GeometryError: mode='tile'. Expected one of native, tiles. Pick one of these.
    """
    if not any(value is name or (isinstance(value, str) and value == name) for name in allowed):
        raise error(f"{what}={short(value)}", expected=expected or f"one of {', '.join(map(str, allowed))}", fix=fix)


def some_of(names: object, allowed: Iterable[str], what: str, *, fix: str, error: type[DenseclipVizError]) -> list[str]:
    """List names that are among the allowed ones; one alone would be read by letters.

    Example:
        >>> some_of("layers", ("layers", "cells"), "leave_out", fix="Try ['layers'].", error=OutputError)
        Traceback (most recent call last):
        denseclip_viz.errors.OutputError: leave_out='layers'. Expected a list of some of layers, cells. Try ['layers'].
    """
    known = tuple(allowed)
    listed = None if isinstance(names, str) or not isinstance(names, Iterable) else list(names)
    if listed is None or any(name not in known for name in listed):
        raise error(f"{what}={names!r}", expected=f"a list of some of {', '.join(known)}", fix=fix)
    return listed


def check_function(function: Function, option: str) -> Function:
    """Refuse what cannot be called, before the work that would call it; None is left as it is.

    Raises:
        LayerError: it cannot.

    Example:
        >>> check_function(print, "unreadable")("cat.jpg")
        cat.jpg
    """
    if function is not None and not callable(function):
        got, fix = f"{option}={short(function)}", "Pass a function, such as one that keeps what it is given."
        raise LayerError(got, expected="a function", fix=fix)
    return function


def is_on(flag: object, what: str, *, error: type[DenseclipVizError] = GeometryError) -> bool:
    """Read a switch, and refuse what is no yes or no: every text would be a yes.

    Example:
        >>> is_on("no", "force")
        Traceback (most recent call last):
        denseclip_viz.errors.GeometryError: force='no'. Expected True or False. Pick one of these.
    """
    plain = flag.item() if getattr(flag, "ndim", None) == 0 and hasattr(flag, "item") else flag
    one_of(plain, (False, True), what, error=error, expected="True or False")
    return bool(plain)


def check_text(text: object, what: str) -> str:
    """Give the text back when it is one that can be encoded, and name it in an error when it is not.

    Raises:
        PromptError: Not a string, nothing but white space, half of a surrogate pair (not encodable), or a null
            character (NumPy and netCDF cut names there).

    Example:
        >>> check_text("grass", "prompts[0]")
        'grass'
    """
    if not isinstance(text, str):
        got = f"{what} is {short(text)} of type {type(text).__name__}"
        raise PromptError(got, expected="a string", fix="Write the prompt as text.")
    if not text.strip():
        got = f"{what} is {text!r}, which says nothing"
        raise PromptError(got, expected="a text with at least one visible character", fix="Leave it out, or write it.")
    if any("\ud800" <= character <= "\udfff" for character in text):
        got = f"{what} is {ascii(text)[:80]}, which holds half of a surrogate pair"
        raise PromptError(got, expected="text that can be written as UTF-8", fix="Type it again.")
    if "\0" in text:
        got = f"{what} is {short(text)}, which holds a null character"
        raise PromptError(got, expected="text that arrays and files can hold", fix="Take it out.")
    return str(text)


def strings(value: object, what: str) -> tuple[str, ...]:
    """List the texts of an argument: one, or several in their order.

    Example:
        >>> strings("grass", "prompts"), strings(["grass", "sky"], "prompts")
        (('grass',), ('grass', 'sky'))
    """
    if isinstance(value, str):
        value = (value,)
    scalar = getattr(value, "ndim", 1) == 0  # an array of no axes only looks as if it could be gone through
    if scalar or not isinstance(value, Iterable) or isinstance(value, bytes | bytearray | Mapping | Set):
        got = f"{what} came as {type(value).__name__}"
        raise PromptError(got, expected="a string or a sequence of strings (in order)", fix="Pass a list of strings.")
    return tuple(check_text(text, f"{what}[{at}]") for at, text in enumerate(value))


def refuse_twice(texts: Sequence[str], what: str, places: Sequence[str] = ()) -> None:
    """Refuse a text that came before, however its white space and its accents are written: the maps would be equal.

    `places` is what to call each of them, where `what[at]` would not help.

    Example:
        >>> refuse_twice(["grass", " grass"], "prompts")
        Traceback (most recent call last):
        denseclip_viz.errors.PromptError: prompts[1] is ' grass', which prompts[0] is already. ...
    """
    first_at: dict[str, int] = {}
    for at, text in enumerate(texts):
        first = first_at.setdefault(normalize("NFC", " ".join(text.split())), at)
        if first != at:
            later, earlier = (places[i] if places else f"{what}[{i}]" for i in (at, first))
            got = f"{later} is {short(text)}, which {earlier} is already"
            raise PromptError(got, expected="each text once", fix="Take one of the two out.")


def many(count: int, noun: str) -> str:
    """Count in words.

    Example:
        >>> many(1, "prompt"), many(80, "template")
        ('1 prompt', '80 templates')
    """
    return f"{count} {noun}" + ("" if count == 1 else "s")


def some(keys: Iterable[str], most: int = 3) -> str:
    """List the first few in order, and say how many more there are.

    Example:
        >>> some(["d", "c", "b", "a"])
        'a, b, c and 1 more'
    """
    listed = sorted(keys)
    rest = f" and {len(listed) - most} more" if len(listed) > most else ""
    return ", ".join(listed[:most]) + rest


def short(text: object, most: int = 60) -> str:
    """Show a value in at most so many characters.

    Example:
        >>> short("a" * 99, most=9)
        "'aaaaaa…'"
    """
    shown = repr(text[: most + 1] if isinstance(text, str) else text)
    return shown if len(shown) <= most else "".join(itertools.islice(shown, most - 2)) + "…" + shown[-1]


def short_name(text: str | bytes | os.PathLike[str]) -> str:
    """Make a name for messages: one line of printable characters, the middle left out of a long one.

    Example:
        >>> short_name("street.jpg"), len(short_name("street" * 99))
        ('street.jpg', 153)
    """
    text = os.fspath(text)
    shown = text if isinstance(text, str) and text.isprintable() else ascii(text)
    return shown if len(shown) <= 160 else f"{shown[:60]}...{shown[-90:]}"


def printable(text: str) -> str:
    """Escape what would steer a terminal: control characters, breaks of lines, marks that turn the direction.

    Example:
        >>> print(printable(f"{chr(27)}[31mred 고양이").replace(chr(92), "/"))
        /x1b[31mred 고양이
    """
    return "".join(ascii(c)[1:-1] if category(c) in _STEERING or bidirectional(c) in _TURNING else c for c in text)


def readable(path: str | os.PathLike[str]) -> Path:
    """Give a place to read back as a path; a pipe or a device, which may never end, is an OSError as a missing file is.

    Example:
        >>> readable("nowhere.txt")
        Traceback (most recent call last):
        FileNotFoundError: [Errno 2] No such file or directory: 'nowhere.txt'
    """
    kind = os.stat(path).st_mode
    if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):
        raise OSError(errno.ENXIO, "a pipe or a device")
    return Path(path)


def check_path(path: object, what: str = "the path") -> Path:
    """Give a place to write to back as a path, and name it in an error where no file system takes such a name.

    Raises:
        OutputError: No text, nothing, a null character, half of a surrogate pair, or a name that is too long.

    Example:
        >>> check_path("maps.nc").suffix
        '.nc'
    """
    expected, fix = "a name that a file system takes", "Pass a path as text, such as 'maps/street.nc'."
    name = os.fspath(path) if isinstance(path, str | os.PathLike) else None
    if not isinstance(name, str) or not name:
        got = f"{what} is {name!r}" if isinstance(name, str | bytes) else f"{what} is of type {type(path).__name__}"
        raise OutputError(got, expected=expected, fix=fix)
    try:
        os.lstat(name)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        pass  # a name that can be: whether it can be written is for the writer to see
    except (OSError, ValueError) as error:
        got = f"{what} is {short_name(name)!r} ({getattr(error, 'strerror', None) or error})"
        raise OutputError(got, expected=expected, fix=fix) from error
    return Path(name)
