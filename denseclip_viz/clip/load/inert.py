"""Pickles read as plain data: what they name is never imported, made or called."""

import pickletools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pickle import UnpicklingError
from typing import Any

_ATOMS = (str, bytes, int, float, bool, type(None))
_VALUES = frozenset(
    "BININT BININT1 BININT2 LONG1 LONG4 BINFLOAT BINSTRING SHORT_BINSTRING BINUNICODE SHORT_BINUNICODE BINUNICODE8"
    " BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8".split()
)
_NEW: Mapping[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_TUPLE": tuple,
    "EMPTY_LIST": list,
    "EMPTY_SET": list,  # nothing of a file is ever hashed but keys that are atoms
    "EMPTY_DICT": dict,
}


@dataclass(eq=False, repr=False, slots=True)
class Record:
    """A thing that a pickle only names: a class, or an object of it with the arguments and the state it would get."""

    name: str
    arguments: Any = ()
    state: Any = None


Makers = Mapping[str, Callable[..., Any]]


def read_inert(data: bytes, makers: Makers, persistent: Callable[[Any], Any]) -> Any:
    """Read a pickle; names that are in `makers` are made by those, all others become a `Record`.

    `persistent` gives what stands for a persistent id. Nothing here recurses or compares, so that depth, cycles and
    things that hold themselves a thousand times cost no more than the bytes that say so.

    Raises:
        UnpicklingError: An opcode that neither torch nor Python's protocols 2 to 5 write.
        ValueError, LookupError, TypeError, AttributeError: A pickle that is broken.

    Example:
        >>> import pickle
        >>> read_inert(pickle.dumps({"lr": 0.1, "who": print}), {}, id)["who"].name
        'builtins.print'
    """
    machine = _Machine(makers, persistent)
    for opcode, argument, _ in pickletools.genops(data):
        if opcode.name == "STOP":
            return machine.pop()
        if opcode.name in _VALUES:
            machine.stack.append(argument)
        elif opcode.name in _NEW:
            machine.stack.append(_NEW[opcode.name]())
        elif opcode.name in _STEPS:
            _STEPS[opcode.name](machine, argument)
        else:
            raise UnpicklingError(f"the opcode {opcode.name}, which no checkpoint needs")
    raise UnpicklingError("the pickle has no end")


class _Machine:
    """The stack and the memo of a pickle."""

    def __init__(self, makers: Makers, persistent: Callable[[Any], Any]) -> None:
        self.makers, self.persistent = makers, persistent
        self.stack: list[Any] = []
        self.marks: list[list[Any]] = []
        self.memo: dict[int, Any] = {}

    def pop(self) -> Any:
        return self.stack.pop()

    def mark(self) -> None:
        self.marks.append(self.stack)
        self.stack = []

    def pop_mark(self) -> list[Any]:
        items, self.stack = self.stack, self.marks.pop()
        return items

    def collapse(self, count: int | None = None) -> None:
        """Put the last few things, or those behind the mark, into a tuple."""
        items = self.pop_mark() if count is None else [self.pop() for _ in range(count)][::-1]
        self.stack.append(tuple(items))

    def name(self, module: str, name: str) -> None:
        self.stack.append(Record(f"{module}.{name}"))

    def call(self, arguments: Any, *, make: bool = True) -> None:
        name = self.pop().name
        maker = self.makers.get(name) if make else None
        self.stack.append(maker(*arguments) if maker else Record(name, arguments))

    def extend(self, items: list[Any]) -> None:
        if isinstance(self.stack[-1], list):
            self.stack[-1].extend(items)

    def set_items(self, items: list[Any]) -> None:
        if isinstance(self.stack[-1], dict):
            keys = [key if isinstance(key, _ATOMS) else Record("key", key) for key in items[::2]]
            self.stack[-1].update(zip(keys, items[1::2], strict=True))

    def build(self, state: Any) -> None:
        if isinstance(self.stack[-1], Record):  # what a dict or a tensor has beside its items is of no use here
            self.stack[-1].state = state


_STEPS: Mapping[str, Callable[[_Machine, Any], Any]] = {
    "PROTO": lambda machine, _: None,
    "FRAME": lambda machine, _: None,
    "MARK": lambda machine, _: machine.mark(),
    "POP": lambda machine, _: machine.pop(),
    "POP_MARK": lambda machine, _: machine.pop_mark(),
    "DUP": lambda machine, _: machine.stack.append(machine.stack[-1]),
    "BINPUT": lambda machine, place: machine.memo.update({place: machine.stack[-1]}),
    "LONG_BINPUT": lambda machine, place: machine.memo.update({place: machine.stack[-1]}),
    "MEMOIZE": lambda machine, _: machine.memo.update({len(machine.memo): machine.stack[-1]}),
    "BINGET": lambda machine, place: machine.stack.append(machine.memo[place]),
    "LONG_BINGET": lambda machine, place: machine.stack.append(machine.memo[place]),
    "TUPLE": lambda machine, _: machine.collapse(),
    "TUPLE1": lambda machine, _: machine.collapse(1),
    "TUPLE2": lambda machine, _: machine.collapse(2),
    "TUPLE3": lambda machine, _: machine.collapse(3),
    "FROZENSET": lambda machine, _: machine.stack.append(machine.pop_mark()),
    "APPEND": lambda machine, _: machine.extend([machine.pop()]),
    "APPENDS": lambda machine, _: machine.extend(machine.pop_mark()),
    "ADDITEMS": lambda machine, _: machine.extend(machine.pop_mark()),
    "SETITEM": lambda machine, _: machine.set_items([machine.pop(), machine.pop()][::-1]),
    "SETITEMS": lambda machine, _: machine.set_items(machine.pop_mark()),
    "GLOBAL": lambda machine, both: machine.name(*both.split(" ", 1)),
    "STACK_GLOBAL": lambda machine, _: machine.name(*[machine.pop(), machine.pop()][::-1]),
    "REDUCE": lambda machine, _: machine.call(machine.pop()),
    "NEWOBJ": lambda machine, _: machine.call(machine.pop(), make=False),
    "NEWOBJ_EX": lambda machine, _: machine.call([machine.pop(), machine.pop()][1], make=False),
    "BUILD": lambda machine, _: machine.build(machine.pop()),
    "BINPERSID": lambda machine, _: machine.stack.append(machine.persistent(machine.pop())),
}
