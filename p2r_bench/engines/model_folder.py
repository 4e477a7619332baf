"""Local folder of a model, and the digest of its files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from p2r_bench.bundled import resolve_model
from p2r_bench.engines.model_files import check_model_files
from p2r_bench.engines.safetensors_file import read_header
from p2r_bench.errors import UserError
from p2r_bench.hub import download

TEXT_FILES = (
    "config.json",
    "generation_config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.json",
    "merges.txt",
    "chat_template.json",
    "chat_template.jinja",
    "p2r_bench.json",
)
WHOLE_FILE_BYTES = 64 << 20
SAMPLE_BYTES = 4096


def check_model_path(model: str) -> None:
    """Check, without reading anything, that a model given as a path is a folder.

    Raises:
        UserError: The path is not a folder.
    """
    if model.startswith((".", "~", "/")) and not Path(model).expanduser().is_dir():
        raise _no_model(model)


def model_folder(model: str, revision: str | None = None) -> Path:
    """Return the local folder of a model: a bundled name, a folder, or a hub id, which is downloaded once.

    Raises:
        UserError: The model does not exist or cannot be fetched, or its files are not whole
            (`check_model_files`).
    """
    resolved = resolve_model(model)
    folder = Path(resolved).expanduser()
    if folder.is_dir():
        if revision:
            raise UserError(
                f"--revision {revision}: {folder} is a local folder; only hub ids have revisions."
            )
        return _checked(folder)
    if folder.is_absolute() or resolved.startswith((".", "~")) or resolved.count("/") != 1:
        raise _no_model(model)
    patterns = (*TEXT_FILES, "*.safetensors", "*.safetensors.index.json")
    return _checked(download("model", resolved, patterns, revision=revision))


def _no_model(model: str) -> UserError:
    return UserError(
        f"--model {model}: neither a folder nor a hub id (OWNER/NAME) nor a bundled model's name."
    )


def _checked(folder: Path) -> Path:
    check_model_files(folder, TEXT_FILES)
    return folder


def model_digest(folder: Path) -> str:
    """SHA-256, in hex, that identifies a model's weights, configuration, tokenizer and chat template.

    Files up to 64 MiB count with all their bytes. A larger safetensors file counts with its name,
    size and header, and with 4 KiB from the start and the middle of every tensor: reading all of an
    8B model would take as long as loading it, and no training step leaves a whole tensor as it was.
    Other files of the folder (a README, optimizer states) do not count.
    """
    total = hashlib.sha256()
    files = [folder / name for name in TEXT_FILES if name != "p2r_bench.json"]
    for path in [*files, *sorted(folder.glob("*.safetensors"))]:
        if not path.is_file():
            continue
        size = path.stat().st_size
        own = hashlib.sha256()
        with path.open("rb") as stream:
            if size <= WHOLE_FILE_BYTES or path.suffix != ".safetensors":
                while block := stream.read(1 << 20):
                    own.update(block)
            else:
                for part in _samples(stream, path):
                    own.update(part)
        total.update(f"{path.name} {size} {own.hexdigest()}\n".encode())
    return total.hexdigest()


def _samples(stream: BinaryIO, path: Path) -> Iterator[bytes]:
    """Yield the header of a safetensors file, and two pieces of each of its tensors."""
    header = read_header(path)
    yield header.text
    for _, entry in sorted(header.tensors.items()):
        begin, end = entry["data_offsets"]
        for offset in (begin, (begin + end) // 2):
            stream.seek(header.start + offset)
            yield stream.read(min(SAMPLE_BYTES, end - offset))


def lora_digest(folder: str | Path) -> str:
    """Return the SHA-256, in hex, of all bytes of a LoRA adapter's configuration and weights.

    Raises:
        UserError: The folder holds no adapter.
    """
    configuration = Path(folder) / "adapter_config.json"
    if not configuration.is_file():
        raise UserError(
            f"--engine-arg lora={folder}: no adapter_config.json there; not a LoRA adapter's folder."
        )
    total = hashlib.sha256()
    for path in [configuration, *sorted(Path(folder).glob("*.safetensors"))]:
        total.update(f"{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return total.hexdigest()
