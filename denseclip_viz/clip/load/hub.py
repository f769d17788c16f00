"""Files of the hub: out of the download cache, or by huggingface_hub's own client, as its user has set it up."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from denseclip_viz.clip.load.refusals import explained
from denseclip_viz.clip.load.shards import INDEX, shards_in
from denseclip_viz.clip.load.source import CONFIG_FILE, hub_place
from denseclip_viz.clip.load.transformers_config import ADAPTER, CONFIG
from denseclip_viz.clip.load.weights import ENDINGS
from denseclip_viz.errors import ModelNameError, WeightsError

PREFIX = "hf-hub:"
VOCABULARIES = (
    "tokenizer.json",
    "vocab.txt",
    "vocab.json",
    "spiece.model",
    "tokenizer.model",
    "sentencepiece.bpe.model",
)
# All that is read beside weights; the configurations come last, since where they are the others are.
_PARTS = (
    *VOCABULARIES, "merges.txt", "added_tokens.json", "special_tokens_map.json",
    "tokenizer_config.json", "preprocessor_config.json", "processor_config.json", ADAPTER, CONFIG, CONFIG_FILE,
)  # fmt: skip
_OF_OPEN_CLIP = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
OF_TRANSFORMERS = tuple(
    f"{name}{index}" for name in ("model.safetensors", "pytorch_model.bin") for index in ("", INDEX)
)
"""The names of weights that transformers writes, in the order in which it takes them."""

_ELSE_A_FOLDER = "pass a folder that holds the whole model."


@dataclass(frozen=True)
class Repository:
    """A repository of the hub.

    Args:
        name: OWNER/NAME.
        model: What its files are needed for.
        otherwise: What to do where they cannot be had: "pass a folder …".
        revision: A branch, tag or commit.
        cache_dir: The download cache, where it is not the hub's own.
    """

    name: str
    model: str
    otherwise: str
    revision: str | None = None
    cache_dir: str | None = None

    def parts(self, enough: Callable[[Path], bool]) -> Path:
        """Give the folder of the download cache with all small files, code never among them.

        A folder that is there, and of which `enough` says so, is taken as it is, and nobody is asked.

        Raises:
            WeightsError: A file cannot be had.
        """
        from huggingface_hub import HfApi, constants

        with self._explained(f"{self.name}/{_PARTS[-1]}"):
            known = [file for name in _PARTS if (file := self._cached([name]))]
        if known and (constants.HF_HUB_OFFLINE or enough(known[0].parent)):
            return known[0].parent
        self._require_online(_PARTS[-1])
        with self._explained(f"the list of files of {self.name}"):
            info = HfApi().model_info(self.name, revision=self.revision, timeout=constants.HF_HUB_ETAG_TIMEOUT)
        listed = {each.rfilename for each in info.siblings or ()}
        files = [self.fetch([name]) for name in _PARTS if name in listed]
        if not files:
            got = f"The repository {self.name} holds none of the files that {self.model} needs"
            raise WeightsError(got, expected=f"one of {', '.join(_PARTS)}", fix="Check the name.")
        return files[-1].parent

    def fetch(self, names: Sequence[str]) -> Path:
        """Give the first of these files that there is: what the download cache has, without asking anybody.

        The client retries a silent hub for minutes. It is therefore asked once, with its own patience, before it may.

        Raises:
            WeightsError: There is none, or the first that there is cannot be had.
        """
        from huggingface_hub import constants, get_hf_file_metadata, hf_hub_download, hf_hub_url
        from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

        if file := self._cached(names):
            return file
        self._require_online(names[0])
        for name in names:
            last = name == names[-1]
            with self._explained(f"{self.name}/{' or '.join(names) if last else name}"):
                url = hf_hub_url(self.name, name, revision=self.revision)
                try:
                    get_hf_file_metadata(url, timeout=constants.HF_HUB_ETAG_TIMEOUT)
                    return Path(hf_hub_download(self.name, name, revision=self.revision, cache_dir=self.cache_dir))
                except LocalEntryNotFoundError:  # it could not be asked
                    raise
                except EntryNotFoundError:
                    if last:
                        raise
        raise AssertionError("names are never none")

    def _cached(self, names: Sequence[str]) -> Path | None:
        from huggingface_hub import try_to_load_from_cache

        place = {"revision": self.revision, "cache_dir": self.cache_dir}
        paths = (try_to_load_from_cache(self.name, name, **place) for name in names)
        return next((Path(path) for path in paths if isinstance(path, str)), None)

    def _explained(self, wanted: str) -> AbstractContextManager[None]:
        return explained(wanted, model=self.model, otherwise=self.otherwise)

    def _require_online(self, file: str) -> None:
        """Believe the hub's switch, which a client of the user's own does not ask."""
        from huggingface_hub import constants

        if constants.HF_HUB_OFFLINE:
            got = f"The file {self.name}/{file} for {self.model} is not on this machine, and HF_HUB_OFFLINE is set"
            fix = f"Unset HF_HUB_OFFLINE and call again, or {self.otherwise}"
            raise WeightsError(got, expected="the file in the download cache, or a network", fix=fix)


def folder_of(name: str, *, cache_dir: str | None = None) -> Path:
    """Give the snapshot of "hf-hub:OWNER/NAME" or "hf-hub:OWNER/NAME@REVISION" in the download cache.

    One that holds weights is taken as it is. Else all is downloaded that a model is made from, except its weights:
    those `complete` downloads, once the rest has been read.

    Raises:
        ModelNameError: The repository holds no configuration of a model.
        WeightsError: The files cannot be had.
    """
    repo, _, revision = name.removeprefix(PREFIX).partition("@")
    repository = Repository(repo, repo, _ELSE_A_FOLDER, revision or None, cache_dir)
    folder = repository.parts(lambda folder: _holds_config(folder) and holds_weights(folder))
    if not _holds_config(folder):
        got = f"The repository {repo} holds no configuration of a model"
        fix = "Check that it is a CLIP, and no adapter, data set or collection of files."
        raise ModelNameError(got, expected=f"an {CONFIG_FILE} or a {CONFIG}", fix=fix)
    return folder


def complete(folder: Path) -> None:
    """Download the weights of a snapshot, safetensors before pickles, and of several shards those that are missing.

    Raises:
        WeightsError: They cannot be had.
    """
    repo, _, cache = hub_place(folder)
    snapshot = Repository(repo, repo, _ELSE_A_FOLDER, folder.name, str(cache))
    names = _OF_OPEN_CLIP if (folder / CONFIG_FILE).is_file() else OF_TRANSFORMERS
    for shard in shards_in(snapshot.fetch(names)):
        snapshot.fetch([shard])


def holds_weights(folder: Path) -> bool:
    """Say whether a folder has weights, and of several shards all."""
    shards = {shard for index in folder.glob(f"*{INDEX}") for shard in shards_in(index)}
    if shards:
        return all((folder / shard).is_file() for shard in shards)
    return any(file.suffix.lower() in ENDINGS for file in folder.iterdir())


def _holds_config(folder: Path) -> bool:
    return any((folder / name).is_file() for name in (CONFIG_FILE, CONFIG, ADAPTER))
