"""What was made lately, by its key: the newest stay, as many as a number of bytes holds."""

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class Recent(Generic[Key, Value]):
    """Values that were put in or asked for last, at most so many bytes of them; the newest is there in any case.

    Args:
        most: Bytes.
        size: Tells the bytes of a value.

    Example:
        >>> texts = Recent[int, str](5, size=len)
        >>> for number, text in enumerate(["abc", "de", "f"]):
        ...     texts[number] = text
        >>> texts.get(0), texts.get(1)
        (None, 'de')
    """

    def __init__(self, most: float, *, size: Callable[[Value], int]) -> None:
        self._most, self._size = most, size
        self._values: dict[Key, Value] = {}  # the newest last

    def get(self, key: Key) -> Value | None:
        """Give a value, which is the newest then; None where it is not there (any more)."""
        if key not in self._values:
            return None
        self._values[key] = value = self._values.pop(key)
        return value

    def __setitem__(self, key: Key, value: Value) -> None:
        self._values.pop(key, None)
        self._values[key] = value
        while len(self._values) > 1 and sum(map(self._size, self._values.values())) > self._most:
            del self._values[next(iter(self._values))]

    def __iter__(self) -> Iterator[Key]:
        return reversed(list(self._values))
