"""Downloads from the Hugging Face hub. Failures are UserErrors with their cause and the ways out."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from p2r_bench.errors import UserError

Kind = Literal["dataset", "model"]


def download(
    kind: Kind,
    name: str,
    patterns: Sequence[str],
    *,
    revision: str | None = None,
    folder: Path | None = None,
) -> Path:
    """Download the files of a repository that match; skip those already downloaded.

    Args:
        name: "owner/name".
        folder: Target folder; None for the hub's own cache.

    Returns:
        The folder with the files.

    Raises:
        UserError: The hub cannot be reached or refuses, or a write fails.
    """
    from huggingface_hub import snapshot_download

    try:
        return Path(
            snapshot_download(
                name,
                repo_type=kind,
                revision=revision,
                local_dir=folder,
                allow_patterns=list(patterns),
            )
        )
    except Exception as error:
        raise _refusal(kind, name, revision, error) from error


def dataset_commit(name: str, revision: str | None = None) -> str:
    """Return the commit of a branch, a tag or the newest state of a dataset.

    Raises:
        UserError: The hub cannot be reached, refuses, or does not give the commit.
    """
    from huggingface_hub import HfApi

    try:
        commit = HfApi().dataset_info(name, revision=revision).sha
    except Exception as error:
        raise _refusal("dataset", name, revision, error) from error
    if commit is None:
        raise UserError(f"{name}: the hub does not give its commit; name one with --revision")
    return str(commit)


def _refusal(kind: Kind, name: str, revision: str | None, error: Exception) -> UserError:
    at = f"{name}@{revision}" if revision else name
    reason, ways = _explained(kind, name, revision, error)
    return UserError("\n  ".join([f"{at} could not be fetched: {reason}", *ways]))


def _explained(
    kind: Kind, name: str, revision: str | None, error: Exception
) -> tuple[str, list[str]]:
    """Return the cause in one line, and the ways out."""
    from huggingface_hub import constants, errors

    page = _page(kind, name)
    token = "set HF_TOKEN to a token of an account that has access (or: hf auth login)"
    if isinstance(error, errors.GatedRepoError):
        return "it is gated", [f"accept its conditions at {page}", token]
    if isinstance(error, errors.RevisionNotFoundError):
        return f"it has no revision {revision!r}", [f"see {page}/commits/main for its commits"]
    if isinstance(error, errors.RepositoryNotFoundError):
        return (
            f"the hub has no such {kind}, or it is private",
            [f"see {page}", f"if it is private: {token}"],
        )
    cause = _first_line(error)
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status in (401, 403):
        return cause, [token]
    if status is not None:
        return cause, [_AGAIN]
    if constants.HF_HUB_OFFLINE and _unreachable(error):
        return "HF_HUB_OFFLINE is set", ["unset it to use the network", *_elsewhere(kind, name)]
    if _unreachable(error):
        return f"the hub at {_endpoint()} cannot be reached: {cause}", _elsewhere(kind, name)
    if isinstance(error, OSError) and error.errno is not None:
        where = "--out" if kind == "dataset" else "HF_HOME"
        return cause, [f"make room or give another folder with {where}; {_AGAIN}"]
    return cause, [_AGAIN]


_AGAIN = "run the same command again to continue: files that are complete are kept"


def _unreachable(error: Exception) -> bool:
    """Return True for errors of the connection, from the client's HTTP library or its cache look-up."""
    from huggingface_hub import errors

    if isinstance(error, (errors.LocalEntryNotFoundError, ConnectionError, TimeoutError)):
        return True
    return type(error).__module__.partition(".")[0] in ("httpx", "httpx2", "httpcore", "requests")


def _elsewhere(kind: Kind, name: str) -> list[str]:
    option = "--data-dir" if kind == "dataset" else "--model"
    what = "--repo-type dataset " if kind == "dataset" else ""
    return [
        f"on a machine with a network:  hf download {what}{name} --local-dir DIR,  then here {option} DIR",
        "a mirror of the hub:  HF_ENDPOINT=URL;  a proxy:  HTTPS_PROXY=URL",
        _AGAIN,
    ]


def _endpoint() -> str:
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co")


def _page(kind: Kind, name: str) -> str:
    return f"{_endpoint()}/{'datasets/' if kind == 'dataset' else ''}{name}"


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
