"""Runs under failing system calls, each in a process of its own; needs fiu-run (Debian: fiu-utils).

    fiu-run -x python -m tests.faults.injected [TRIALS]

Every trial gives a run random failures of one kind, then the same command again without. Ends with the number of trials, and how
many of them were disturbed.
"""

from __future__ import annotations

import ctypes
import errno
import os
import random
import shutil
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path

from p2r_bench.errors import UserError
from p2r_bench.store.equal import differences
from p2r_bench.store.journal_index import JournalIndex
from tests.faults.test_crash import command, run_folder
from tests.run.conftest import write_bench

POINTS = (
    "posix/io/*",
    "posix/io/rw/*",
    "posix/io/rw/write",
    "posix/io/rw/write/reduce",
    "posix/io/sync/*",
    "posix/io/oc/open",
    "posix/io/dir/*",
    "posix/mm/*",
)
ERRORS = (errno.EIO, errno.ENOSPC)
PROBABILITIES = (0.002, 0.01, 0.05, 0.3)


def in_a_process(work: Callable[[], object]) -> int:
    """Run in a fork; return 0, or 3 for an error that the command line shows as a message, or another number."""
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    status = 1
    try:
        work()
        status = 0
    except (UserError, OSError, MemoryError):
        status = 3
    except BaseException as error:  # noqa: BLE001 - the process ends here
        group: BaseException = error
        while isinstance(group, BaseExceptionGroup):
            group = group.exceptions[0]
        status = 3 if isinstance(group, UserError | OSError | MemoryError) else 1
        if status == 1:
            traceback.print_exc()
    finally:
        os._exit(status)


def disturbed(seed: int, data: Path, out: Path) -> None:
    """Run with failures that the seed draws."""
    draw = random.Random(seed)
    library = ctypes.CDLL("libfiu.so.0")
    library.fiu_set_prng_seed(ctypes.c_uint(seed))
    chance = ctypes.c_float(draw.choice(PROBABILITIES))
    point, error = draw.choice(POINTS).encode(), ctypes.c_void_p(draw.choice(ERRORS))
    if library.fiu_enable_random(point, 1, error, 0, chance) != 0:
        raise SystemExit("fiu_enable_random failed")
    command(data, out)


def main() -> None:
    trials = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    failed = 0
    with tempfile.TemporaryDirectory(prefix="p2r-bench-injected-") as name:
        folder = Path(name)
        data = write_bench(folder / "data", 2)
        assert in_a_process(lambda: command(data, folder / "whole")) == 0
        for seed in range(trials):
            out = folder / "out"
            out.mkdir()
            status = in_a_process(lambda: disturbed(seed, data, out))  # noqa: B023 - ends at once
            assert status in (0, 3), f"seed {seed}: status {status}"
            failed += status != 0
            recorded = {
                key
                for journal in out.glob("runs/*/journal.jsonl")
                for key in JournalIndex.scan(journal).done
            }
            assert in_a_process(lambda: command(data, out)) == 0, f"seed {seed}: the command again"  # noqa: B023
            assert differences(run_folder(out), run_folder(folder / "whole")) == [], f"seed {seed}"
            (journal,) = out.glob("runs/*/journal.jsonl")
            assert recorded <= JournalIndex.scan(journal).done, f"seed {seed}"
            shutil.rmtree(out)
    sys.stdout.write(f"{trials} trials, {failed} of them disturbed, nothing lost\n")


if __name__ == "__main__":
    main()
