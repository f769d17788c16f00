"""Text vectors on disk: where, under which key, in one SQLite table for all models, and no row trusted unread."""

import hashlib
import json
import os
import sqlite3
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from denseclip_viz.clip.surroundings import products_of_float32
from denseclip_viz.clip.text.encode import context_length
from denseclip_viz.clip.text.tokenize import Tokenizer, token_ids
from denseclip_viz.errors import OutputError, PromptError, silenced
from denseclip_viz.validation import check_path, many, short

VARIABLE = "DENSECLIP_VIZ_CACHE"
FORMAT = 3  # of the vectors: those of another one are deleted (before 2 some were made in training mode or autocast,
# before 3 some by products of float32 that TF32 or bfloat16 had shortened)
_OFF = ("", "0", "off", "no", "false")
_ON = ("1", "on", "yes", "true")
_FACTS = ("model", "weights_hash", "activation", "switches", "dtype")
_BESIDE_TEXT = ("visual", "logit_")
_SAMPLE = 1024  # numbers of each tensor
_BITS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64, 16: torch.int64}  # by bytes of a number
# Letters in two cases, accents, digits, marks, white space, entities, scripts: where tokenizers differ, it shows here.
_PROBES = ("A photo of the Orange-Tree's  leaves!", "naïve ÉCOLE 3.14 &amp; a_b <b>", "고양이 猫 кошка 🐈", "")

LEAST = 16  # texts worth a transaction: encoding fewer is as fast as flushing them to the disk
MOST_ROWS = 1024  # texts that wait before they are written
SECONDS = 5.0  # after which they are written anyway: what a killed process can lose
MOST_BYTES = 2**31  # of all models together; the vectors that were not read for longest go first
FILE = "texts.sqlite"
_RESOLUTION = 3600.0  # seconds: a vector read again within the hour is not written down as used again
_PATIENCE = 10.0  # seconds that a lock of another process is waited for
# SQLite's log is shared memory, which machines do not share (sqlite.org/wal.html): no error, but broken files.
_NETWORK = ("nfs", "cifs", "smb", "afs", "lustre", "gpfs", "beegfs", "ceph", "fuse.sshfs", "fuse.gluster", "fuse.ceph")
# What SQLite says of a place, in the words of all its versions; its other errors are of the file.
_NO_PLACE = ("database is locked", "unable to open", "attempt to write", "disk I/O error", "database or disk is full",
             "locking protocol")  # fmt: skip
_TABLE = """
    CREATE TABLE IF NOT EXISTS vectors (
        model TEXT, text TEXT, cut INTEGER, vector BLOB, dtype TEXT, used REAL, checksum BLOB,
        UNIQUE (model, text, cut) ON CONFLICT REPLACE);
    CREATE INDEX IF NOT EXISTS vectors_by_use ON vectors (used, length(vector));
"""
_ROW = "WHERE model = ? AND text = ? AND cut = ?"
_EVICT = """
    DELETE FROM vectors WHERE rowid IN (
        SELECT rowid FROM (
            SELECT rowid, sum(length(vector)) OVER (ORDER BY used DESC, rowid DESC) AS newer FROM vectors)
        WHERE newer > ?)
"""
T = TypeVar("T")

Cache = bool | str | os.PathLike[str] | None
"""Where vectors are kept: a folder, False for nowhere, None for the default place."""


class CacheWarning(UserWarning):
    """Something about the kept text vectors that costs time, never a wrong number."""


def cache_folder(cache: Cache = None) -> Path | None:
    """Find the folder for vectors: the argument, else the variable DENSECLIP_VIZ_CACHE, else the system's; None: off.

    Raises:
        OutputError: Something else.

    Example:
        >>> cache_folder(False) is None, cache_folder("here").name
        (True, 'here')
    """
    if cache is False:
        return None
    if isinstance(cache, str | os.PathLike) and str(cache):
        return _home(cache)
    if cache is not None and cache is not True:
        expected = "a folder, False for none, or None for the default"
        raise OutputError(f"cache={cache!r}"[:80], expected=expected, fix="Leave it out, or name a folder.")
    setting = os.environ.get(VARIABLE, "on").strip()
    if setting.lower() in _OFF:
        return None
    if setting.lower() not in _ON:
        return _home(setting)
    import platformdirs

    return platformdirs.user_cache_path("denseclip_viz", appauthor=False)


def _home(folder: str | os.PathLike[str]) -> Path:
    """Write out ~ at the beginning of a folder that a file system takes."""
    try:
        return check_path(folder, "the cache folder").expanduser()
    except RuntimeError as error:
        got, fix = f"the cache folder is {short(str(folder))}", "Write the folder out."
        raise OutputError(got, expected="the ~ of somebody who has a home here", fix=fix) from error


def identity(clip: nn.Module, tokenizer: Tokenizer, provenance: Mapping[str, str | int]) -> dict[str, str]:
    """List everything that the vector of a text depends on.

    That is the model, the hash of its weights' file, activation, switches, dtype, kind of device, how exactly torch
    multiplies, and prints of the text tower's numbers and of the tokenizer's behaviour. Versions are not among it:
    what they would change shows in the weights that are read and the ids that are made.
    """
    return {
        "format": str(FORMAT),
        **{name: str(provenance.get(name, "")) for name in _FACTS},
        "device": next(clip.parameters()).device.type,
        "products": products_of_float32(),
        "tower": f"{weights_print(clip, _BESIDE_TEXT)} {_sums(clip)}",
        "tokenizer": tokenizer_print(tokenizer, context_length(clip, tokenizer)),
    }


def weights_print(clip: nn.Module, but: tuple[str, ...] = ()) -> str:
    """Hash the settings and a sample of the tensors of all parts but those, whatever their file was called.

    Heads, epsilons and where the vector is taken are no tensors: by them two of the same weights may differ.
    A training step changes all of them; a change of a few single numbers by hand may go unseen (`TextBank.clear` and
    `cache=False` are for that).
    """
    digest = hashlib.blake2b(digest_size=16)
    for name, tensor in sorted(clip.state_dict().items()):
        if not name.startswith(but):
            digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
            flat = tensor.detach().reshape(-1)
            sample = flat[:: max(1, len(flat) // _SAMPLE)].contiguous().cpu()
            digest.update(sample.view(torch.uint8).numpy().tobytes() if sample.numel() else b"")
    for place, module in clip.named_modules():
        if not place.startswith(but):
            settings = {name: value for name, value in vars(module).items() if isinstance(value, int | float | str)}
            digest.update(f"{place} {sorted((settings | {'name_or_path': ''}).items())}".encode())
    return digest.hexdigest()


def _sums(clip: nn.Module) -> int:
    """Sum the bits of all of a text tower's numbers up, which shows what a sample of them does not."""
    total = 0
    for name, tensor in clip.state_dict().items():
        if not name.startswith(_BESIDE_TEXT):
            bits = tensor.detach().contiguous().reshape(-1).view(_BITS[tensor.element_size()])
            total = total * 31 + int(bits.sum(dtype=torch.int64))
    return total % 2**63


def live_print(clip: nn.Module) -> str:
    """Tell the numbers of a text tower from those that it had before, also where one was changed by hand.

    torch counts what is done to a tensor in place; what goes round that (`.data`) shows in `weights_print`.
    """
    tensors = [tensor for name, tensor in clip.state_dict().items() if not name.startswith(_BESIDE_TEXT)]
    counts = [0 if tensor.is_inference() else tensor._version for tensor in tensors]
    return f"{weights_print(clip, _BESIDE_TEXT)} {counts}"


def tokenizer_print(tokenizer: Tokenizer, length: int) -> str:
    """Hash what a tokenizer is, how many tokens are read, and what it makes of texts in which tokenizers differ."""
    cut = getattr(getattr(tokenizer, "reduction_fn", None), "__name__", "")
    facts: list[object] = [type(tokenizer).__qualname__, length, cut]
    facts += [getattr(inside, "vocab_size", None) for inside in (tokenizer, getattr(tokenizer, "tokenizer", None))]
    with silenced():  # nobody asked of these texts
        for text in _PROBES:
            try:
                facts.append(token_ids(tokenizer, [text], context=length, truncate=True)[0].tolist())
            except PromptError as error:  # of a script that the tokenizer has no pieces for
                facts.append(error.got)
    return _hash(repr(facts).encode()).hex()


class TextCache:
    """Unit vectors of one model's texts, in a database that all models share.

    What was written is there after a kill (a write-ahead log), processes may read and write at once, and each row has
    a checksum over its key and its vector. A damaged row is encoded again; a damaged database is set aside. Where none
    can be (a network home, a folder for reading only, a lock that stays) vectors live in memory alone. The file may be
    deleted at any time.

    Args:
        root: The folder for all models.
        identity: All that the vectors depend on beside the text (`identity`).
        least: Texts that are worth a transaction; fewer wait for more.
        seconds: How long texts wait when there are enough.
        most_bytes: What all models' vectors may take up; those that were not read for longest are deleted.
    """

    def __init__(
        self,
        root: Path,
        identity: Mapping[str, str],
        *,
        least: int = LEAST,
        seconds: float = SECONDS,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        self.file = root / FILE
        self._model = _hash(json.dumps(identity, sort_keys=True, ensure_ascii=False).encode()).hex()
        self._least, self._seconds, self._most_bytes = least, seconds, most_bytes
        self._waiting: dict[tuple[str, bool], Tensor] = {}
        self._since, self._usable = time.monotonic(), True
        self._lock = threading.RLock()

    def recall(self, texts: Sequence[str], *, truncate: bool) -> dict[str, Tensor]:
        """Give the vectors of those texts that are kept; `truncate` says whether texts may have been cut."""
        return self._run(lambda db: self._read(db, texts, truncate), {}) if os.path.exists(self.file) else {}

    def add(self, texts: Sequence[str], vectors: Tensor, *, truncate: bool) -> None:
        """Take the unit vectors of texts, (text, D) on the CPU; they are written when many wait, or long."""
        with self._lock:
            self._waiting.update(((text, truncate), row) for text, row in zip(texts, vectors, strict=True))
            if len(self._waiting) >= MOST_ROWS or time.monotonic() - self._since >= self._seconds:
                self.flush()

    def flush(self) -> None:
        """Write what waits, if it is worth a transaction."""
        with self._lock:
            if len(self._waiting) >= self._least:
                self._run(self._write, None)
                self._waiting.clear()
                self._since = time.monotonic()

    def _run(self, work: Callable[[sqlite3.Connection], T], otherwise: T) -> T:
        for _ in range(2):  # the second time on a new database, where the first was set aside
            try:
                if not self._usable:
                    break
                with self._open() as db:
                    return work(db)
            except (OSError, sqlite3.DatabaseError) as error:
                if not isinstance(error, OSError) and not str(error).startswith(_NO_PLACE):
                    self._set_aside(error)
                    continue
                self._usable = False
                _warn(
                    f"Text vectors cannot be kept in {self.file.parent} ({getattr(error, 'strerror', None) or error}): "
                    "they stay in memory. DENSECLIP_VIZ_CACHE names another folder, or says off."
                )
        return otherwise

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """Open a connection for one call and one transaction: none may be shared by threads, or live through a fork."""
        self.file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if on_network(self.file.parent):
            raise OSError(0, "a network folder")
        new = not self.file.exists()
        with closing(sqlite3.connect(self.file, timeout=_PATIENCE)) as db:
            if new:
                self.file.chmod(0o600)  # it holds what somebody typed
                remove_older(self.file.parent)
            with suppress(sqlite3.OperationalError):  # another process is just doing it
                db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = NORMAL")
            db.text_factory = lambda data: data.decode(errors="replace")  # damaged text is for the checksum to notice
            db.executescript(_TABLE)
            with db:
                if db.execute("PRAGMA user_version").fetchone() != (FORMAT,):
                    db.execute("DELETE FROM vectors")
                    db.execute(f"PRAGMA user_version = {FORMAT}")
                yield db

    def _read(self, db: sqlite3.Connection, texts: Sequence[str], truncate: bool) -> dict[str, Tensor]:
        vectors, broken, stale, now = {}, [], [], time.time()
        for text in texts:
            key = self._model, text, truncate
            row = db.execute(f"SELECT used < ?, vector, dtype, checksum FROM vectors {_ROW}", (now - _RESOLUTION, *key))
            for long_unread, *stored in row:
                if (vector := _decode(key, *stored)) is None:
                    broken.append(key)
                    continue
                vectors[text] = vector
                stale += [(now, *key)] if long_unread else []
        db.executemany(f"UPDATE vectors SET used = ? {_ROW}", stale)
        if broken:
            db.executemany(f"DELETE FROM vectors {_ROW}", broken)
            what = f"{many(len(broken), 'text')} in {self.file}"
            _warn(f"The content of {what} is broken (not what was written): it is deleted and encoded again.")
        return vectors

    def _write(self, db: sqlite3.Connection) -> None:
        now = time.time()
        for (text, cut), vector in self._waiting.items():
            key, array = (self._model, text, cut), vector.numpy()
            stored = array.tobytes(), array.dtype.str
            row = (*key, *stored, now, _checksum(key, *stored))
            db.execute("INSERT INTO vectors VALUES (?, ?, ?, ?, ?, ?, ?)", row)
        if db.execute("SELECT total(length(vector)) FROM vectors").fetchone()[0] > self._most_bytes:
            db.execute(_EVICT, (self._most_bytes * 7 // 8,))  # an eighth at once: finding them reads the whole index

    def _set_aside(self, error: sqlite3.DatabaseError) -> None:
        aside = self.file.with_name(f"{FILE}.broken")
        with suppress(FileNotFoundError):  # another thread did it
            for ending in ("-wal", "-shm"):
                self.file.with_name(FILE + ending).unlink(missing_ok=True)
            os.replace(self.file, aside)
        _warn(f"{self.file} is broken ({error}): it is set aside as {aside.name} and its texts are encoded again.")


def on_network(folder: Path) -> bool:
    """Say whether a folder lies on a network's disk, as far as Linux tells; elsewhere SQLite's errors must do."""
    mounts = {}
    with suppress(OSError):
        lines = Path("/proc/self/mounts").read_text(encoding="utf-8", errors="replace").splitlines()
        mounts = {line.split()[1]: line.split()[2] for line in lines}
    inside = folder.resolve()
    kinds = (mounts[str(place)] for place in (inside, *inside.parents) if str(place) in mounts)
    return next(kinds, "").startswith(_NETWORK)


def remove_older(root: Path) -> None:
    """Delete what earlier versions kept, by the names that they gave: a file of vectors a write, a folder a model."""
    ours = "[0-9a-f]" * 32
    with suppress(OSError):  # what is not ours stays, and its folders with it
        for file in (*root.glob(f"texts/{ours}/{ours}.safetensors"), *root.glob(f"texts/{ours}/.*.part")):
            file.unlink()
        for folder in (*root.glob(f"texts/{ours}"), root / "texts"):
            folder.rmdir()


def _decode(key: tuple[str, str, bool], vector: Any, dtype: Any, checksum: Any) -> Tensor | None:
    """Decode a row; None for one that is not what was written, whatever its columns hold."""
    if not isinstance(vector, bytes) or _checksum(key, vector, dtype) != checksum:
        return None
    return torch.from_numpy(np.frombuffer(bytearray(vector), dtype))


def _checksum(key: tuple[str, str, bool], vector: bytes, dtype: str) -> bytes:
    return _hash(repr((*key, dtype)).encode() + vector)


def _hash(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=16).digest()


def _warn(what: str) -> None:
    warnings.warn(what, CacheWarning, stacklevel=2)
