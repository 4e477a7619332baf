"""Coverage-guided fuzzing of everything that reads a reply; needs the package atheris.

    python -m tests.faults.fuzz [SECONDS] [READER …]

Ends with the number of replies tried, or with the first reply that raises or that takes more than five seconds.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
import tempfile

import atheris

SECONDS = 600
LONGEST = 4096
"""Bytes of a reply."""

with atheris.instrument_imports(include=["p2r_bench"]):
    for package in ("p2r_bench.adapter", "p2r_bench.families", "p2r_bench.judges"):
        for module in pkgutil.iter_modules(importlib.import_module(package).__path__):
            importlib.import_module(f"{package}.{module.name}")

from tests.faults.readers import FRAGMENTS, readers  # noqa: E402 - after what is watched


def main() -> None:
    seconds = int(sys.argv[1]) if len(sys.argv) > 1 else SECONDS
    known = readers()
    chosen = [known[name] for name in sys.argv[2:] or known]

    def one(data: bytes) -> None:
        try:
            text = data.decode("utf-8", "surrogatepass")  # lone surrogates, as JSON may hold them
        except UnicodeDecodeError:
            text = data.decode("utf-8", "replace")
        for read in chosen:
            read(text)

    with tempfile.NamedTemporaryFile("w", suffix=".dict") as words:
        for fragment in FRAGMENTS:
            escaped = "".join(f"\\x{byte:02x}" for byte in fragment.encode("utf-8", "replace"))
            words.write(f'"{escaped}"\n')
        words.flush()
        options = [
            f"-max_total_time={seconds}",
            f"-max_len={LONGEST}",
            "-seed=1",
            "-timeout=5",
            "-rss_limit_mb=4096",
        ]
        options += [f"-dict={words.name}", "-print_final_stats=1", "-len_control=0"]
        atheris.Setup([sys.argv[0], *options], one)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
