"""Why a file of the hub could not be had, in one line, and what helps against it."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from denseclip_viz.errors import WeightsError, first_line

_LOGIN = "Check the name; if its page asks for it, accept the terms there and run `hf auth login`."
_OFFLINE = "Unset HF_HUB_OFFLINE and call again."
_LATER = "Try again later."
_PLACE = "Make that folder writable, or set HF_HOME to one that is."
_PATIENCE = (
    "Try again, with more patience by HF_HUB_ETAG_TIMEOUT=60 or, for the file itself, HF_HUB_DOWNLOAD_TIMEOUT=60."
)
_NO_HUB = "Check HF_ENDPOINT, and whether a login page stands in between."
_CLIENT = "Name your certificates in the variable SSL_CERT_FILE, or set a client by huggingface_hub.set_client_factory."

# By the name of an error's class or of one that it is made of, the first that fits: the hub's client is built on httpx
# or httpx2, by its version, and each has the same errors under its own roof.
_KINDS = (
    ("HFValidationError", "{text}", "Copy the name from the model's page."),
    ("OfflineModeIsEnabled", "HF_HUB_OFFLINE is set", _OFFLINE),
    ("GatedRepoError", "{status}: its owner wants to know who asks", _LOGIN),
    ("RevisionNotFoundError", "404: the repository has no such revision", "Check the part behind @."),
    ("EntryNotFoundError", "404: the repository has no such file", "Take another model."),
    ("RepositoryNotFoundError", "{status}: there is no such repository, or it is not shown to all", _LOGIN),
    ("FileMetadataError", "{host} does not answer as a hub does", _NO_HUB),
    ("TimeoutException", "{host} was silent for too long", _PATIENCE),
    ("ProxyError", "the proxy refused: {text}", "Check the variables HTTPS_PROXY and ALL_PROXY."),
)  # fmt: skip
_STATUSES = {401: _LOGIN, 403: _LOGIN, 404: "Check the name."}
_ON_DISK = {
    errno.ENOSPC: "Make room there, or set HF_HOME to a folder on another disk.",
    errno.EDQUOT: "Make room there, or set HF_HOME to a folder on another disk.",
    errno.EACCES: _PLACE, errno.EPERM: _PLACE, errno.EROFS: _PLACE, errno.ENOTDIR: _PLACE,
}  # fmt: skip
# What has no base of its own, beside OSError, RuntimeError (Xet) and ValueError (names that cannot be).
_FAILURES = ("HTTPError", "RevisionResolutionError", "XetDownloadError", "EntryNotFoundError")


@contextmanager
def explained(wanted: str, *, model: str, otherwise: str) -> Iterator[None]:
    """Turn what the hub's client raises on the way to a file into an error of ours.

    Args:
        wanted: The file, as "OWNER/NAME/FILE".
        model: Whose it is.
        otherwise: What to do where it cannot be had: "pass a file …".

    Raises:
        WeightsError: With the first real cause, and what helps against it.

    Example:
        >>> with explained("a/b/c.json", model="Tiny", otherwise="pass a file"):
        ...     raise TimeoutError("nothing came")
        Traceback (most recent call last):
        denseclip_viz.errors.WeightsError: The download of a/b/c.json for Tiny failed (nothing came). ...
    """
    from huggingface_hub import errors

    failures = tuple(getattr(errors, name) for name in _FAILURES if hasattr(errors, name))
    try:
        yield
    except (OSError, RuntimeError, ValueError, *failures) as error:
        why, helps = describe_failure(error)
        got = f"The download of {wanted} for {model} failed ({why})"
        raise WeightsError(got, expected="the whole file", fix=f"{helps} Or {otherwise}") from error


def describe_failure(error: BaseException) -> tuple[str, str]:
    """Say why a download failed, and what helps against it.

    Example:
        >>> describe_failure(OSError(28, "No space left on device"))
        ('No space left on device', 'Make room there, or set HF_HOME to a folder on another disk.')
    """
    from huggingface_hub import constants

    while type(error).__name__ in ("LocalEntryNotFoundError", "RevisionResolutionError") and error.__cause__:
        error = error.__cause__  # the hub's summary of it names no cause
    names = {kind.__name__ for kind in type(error).__mro__}
    status = getattr(getattr(error, "response", None), "status_code", 0)
    host, text = _host(error) or urlsplit(constants.ENDPOINT).netloc, first_line(error)
    for name, why, helps in _KINDS:
        if name in names:
            return why.format(status=status, host=host, text=text), helps
    if status:
        phrase = HTTPStatus(status).phrase if status in HTTPStatus._value2member_map_ else "an unknown answer"
        return f"{status} {phrase}, from {host}", _STATUSES.get(status, _LATER)
    if (code := getattr(error, "errno", None)) in _ON_DISK and isinstance(error, OSError):
        where = f": {error.filename}" if error.filename else ""
        return f"{error.strerror}{where}", _ON_DISK[code]
    if "CERTIFICATE" in text:
        return f"{host}: {text}", _CLIENT
    return f"{host}: {text}" if _host(error) else text, "Connect and call again."


def _host(error: Any) -> str:
    """Name the host that was asked, where the error knows it."""
    try:
        return urlsplit(str(error.request.url)).netloc
    except (AttributeError, RuntimeError):  # httpx raises the second where no request was made
        return ""
