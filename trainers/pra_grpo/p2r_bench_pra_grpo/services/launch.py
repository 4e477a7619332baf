"""Start of a server: the program records its process, then replaces itself with the server.

`python -m p2r_bench_pra_grpo.services.launch RECORD WORD...` writes RECORD before it executes the command, so
that every server has a record, even when the trainer dies right after starting it.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from p2r_bench_pra_grpo.services.processes import birth


def main() -> None:
    record, *command = sys.argv[1:]
    path = Path(record)
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    facts = {"pid": os.getpid(), "birth": birth(os.getpid()), "command": command}
    beside.write_text(json.dumps(facts), "utf-8")
    beside.replace(path)
    try:
        os.execvp(command[0], command)
    except OSError as error:
        sys.exit(f"{command[0]}: cannot be started: {error.strerror}")


if __name__ == "__main__":
    main()
