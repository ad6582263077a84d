"""Weights of the Hugging Face hub, through its own client: its cache, HF_ENDPOINT, HF_HUB_OFFLINE and HF_TOKEN hold.

Safetensors only: a pickle runs what its author wrote. What was fetched is checked against the hub's SHA-256, and what
is damaged leaves the cache again.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from src.deploy.origin import check_description, read_description
from src.deploy.weight_files import read_torch_weights
from src.schema.pretrained_names import HubName
from src.utils.errors import ReportedError
from src.utils.files import sha256_of
from src.utils.shown import printable

_WEIGHTS, _CONFIG = "model.safetensors", "config.json"
_PICKLES = (".bin", ".pth", ".pt", ".ckpt")
_SHA256 = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True)
class Fetched:
    """weights: a file in the client's cache, beside it the repository's config.json if it has one. sha256: of it."""

    weights: Path
    sha256: str


def fetch(named: HubName) -> Fetched:
    """The weights of a repository, from the cache when it has what the hub has, or when there is no connection.

    Raises ReportedError when they cannot be had, are damaged, or are described as those of another network.
    """
    from huggingface_hub import hf_hub_download  # 0.3 s to import, for those who name weights alone

    with _asking(named):
        description = _description(named)
        if description:
            with _unless_damaged(named, description):
                values = read_description(description)
            check_description(values, f"{named.name}: its {_CONFIG}")
        # Of the same state as the description, whatever is uploaded meanwhile.
        state = {"revision": description.parent.name} if description else {}
        weights = Path(hf_hub_download(named.repository, _WEIGHTS, **state))
        digest = sha256_of(weights)
    expected = _name_in_cache(weights)
    if _SHA256.fullmatch(expected) and expected != digest:
        _forget(weights)
        raise ReportedError(
            f"{named.name}: {_WEIGHTS} has the SHA-256 {digest}, the hub's is {expected}: it was damaged on the way or "
            "in the cache and is removed from there; run the command again"
        )
    with _unless_damaged(named, weights):
        read_torch_weights(weights)
    return Fetched(weights, digest)


def _description(named: HubName) -> Path | None:
    """The repository's config.json, None when it has none."""
    from huggingface_hub import _CACHED_NO_EXIST, hf_hub_download, try_to_load_from_cache
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    try:
        return Path(hf_hub_download(named.repository, _CONFIG))
    except LocalEntryNotFoundError:
        if try_to_load_from_cache(named.repository, _CONFIG) is not _CACHED_NO_EXIST:
            raise
    except EntryNotFoundError:
        pass
    return None


@contextmanager
def _unless_damaged(named: HubName, path: Path) -> Iterator[None]:
    """What cannot be read leaves the cache."""
    try:
        yield
    except ReportedError as error:
        _forget(path)
        raise ReportedError(f"{named.name}: {error}; it is removed from the cache") from error


@contextmanager
def _asking(named: HubName) -> Iterator[None]:
    """Turn what the client raises into a ReportedError; its own warnings are not shown."""
    from huggingface_hub import constants
    from huggingface_hub.errors import HTTPError, XetDownloadError
    from huggingface_hub.utils import logging

    level = logging.get_verbosity()
    logging.set_verbosity(logging.CRITICAL)
    try:
        yield
    except (OSError, HTTPError, XetDownloadError, ValueError, RuntimeError) as error:
        raise ReportedError(f"{named.name}: {_in_words(error, named, constants.ENDPOINT)}") from error
    finally:
        logging.set_verbosity(level)


def _in_words(error: Exception, named: HubName, endpoint: str) -> str:
    """What `error` means to whoever asked `endpoint`, and what to do."""
    from huggingface_hub import constants, errors

    text = str(error.__cause__ or error)
    found = printable(text.splitlines()[0] if text else repr(error))
    if isinstance(error, errors.GatedRepoError):
        return f"its authors give access on request; ask at {endpoint}/{named.repository}, and set HF_TOKEN"
    if isinstance(error, errors.RepositoryNotFoundError):
        return (
            f"there is no repository {named.repository} at {endpoint}, or it is private; correct the name, or set "
            "HF_TOKEN"
        )
    if isinstance(error, errors.LocalEntryNotFoundError):
        if constants.HF_HUB_OFFLINE:
            return (
                f"HF_HUB_OFFLINE is set and {named.repository} is not in the cache {constants.HF_HUB_CACHE}; run it "
                "once with a connection, or copy that folder from where it was run"
            )
        return (
            f"{endpoint} does not answer as a hub ({found[:200]}) and {named.repository} is not in the cache "
            f"{constants.HF_HUB_CACHE}; check the connection, or name a mirror with HF_ENDPOINT"
        )
    if isinstance(error, errors.EntryNotFoundError):
        return f"{_without_safetensors(named)}; name another repository, or convert a file that you trust"
    return f"it could not be fetched from {endpoint} ({found[:300]}); run the command again"


def _without_safetensors(named: HubName) -> str:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HTTPError

    try:
        files = HfApi().list_repo_files(named.repository)
    except (OSError, HTTPError, ValueError):
        files = []
    pickles = [name for name in files if name.endswith(_PICKLES)]
    held = f", only {printable(', '.join(pickles[:3]))}, and pickles from the network are not read" if pickles else ""
    return f"the repository {named.repository} holds no {_WEIGHTS}{held}"


def _name_in_cache(path: Path) -> str:
    """The hub's name for the content of a file in the cache: of a large one its SHA-256."""
    return path.readlink().name if path.is_symlink() else ""


def _forget(path: Path) -> None:
    """Remove a file from the cache: its content is what a link leads to."""
    for place in {path.resolve(), path.parent / path.readlink() if path.is_symlink() else path, path}:
        place.unlink(missing_ok=True)
