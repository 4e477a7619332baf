"""Cache of a verifier model's replies on disk, shared between runs."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from p2r_bench.atomic import swapping
from p2r_bench.errors import UserError
from p2r_bench.types import digest_of


def default_folder() -> Path:
    """`$XDG_CACHE_HOME/p2r-bench/verifier`, by default `~/.cache/p2r-bench/verifier`."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "p2r-bench" / "verifier"


class ReplyCache:
    """Cache with one small file per question; several processes may share the folder.

    An unreadable file, or one of another question, counts as missing.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def check(self) -> None:
        """Create the folder.

        Raises:
            UserError: The folder cannot be created or written to.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.folder):
                pass
        except OSError as error:
            raise UserError(
                f"{self.folder}: the verifier's replies cannot be kept here: {error.strerror or error}. "
                "Name another folder with --judge-arg verifier:cache_dir=DIR"
            ) from error

    def get(self, question: Mapping[str, str]) -> str | None:
        """Return the reply to a question (all its deciding values, by name), or None."""
        try:
            entry = json.loads(self._path(question).read_text("utf-8"))
        except (OSError, ValueError, RecursionError):
            return None
        if not isinstance(entry, dict) or entry.get("question") != dict(question):
            return None
        reply = entry.get("reply")
        return reply if isinstance(reply, str) else None

    def put(self, question: Mapping[str, str], reply: str) -> None:
        """Store a reply. Raises OSError when the write fails; an earlier reply is then kept."""
        path = self._path(question)
        path.parent.mkdir(parents=True, exist_ok=True)
        with swapping(path) as temporary:
            temporary.write_text(
                json.dumps({"question": dict(question), "reply": reply}), encoding="utf-8"
            )

    def _path(self, question: Mapping[str, str]) -> Path:
        digest = digest_of(dict(question))
        return self.folder / digest[:2] / f"{digest[2:]}.json"
