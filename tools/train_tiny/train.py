"""Trains p2r-tiny and p2r-tiny-base from nothing; run again, it goes on where it stopped."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent

CROWD, FLOCK, WHOLE, EPISODES = 24, 5, 10, 16
"""Chunks of 250 in the caches."""
VISION_STEPS, JOINT_STEPS, POLISH_STEPS = 3000, 600, 480
BASE_STEP = 150
"""Step of the joint stage whose weights become p2r-tiny-base."""


def stage(script: str, *arguments: object) -> None:
    """Run one script of this folder; a failure ends the training with its status."""
    command = [sys.executable, str(HERE / script), *map(str, arguments)]
    print("+", *command[1:], flush=True)
    subprocess.run(command, check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="caches and checkpoints (5 GB)")
    parser.add_argument("--out", type=Path, required=True, help="where the two model folders go")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    views, episodes = args.work / "views", args.work / "episodes"
    vision, joint, polish = (args.work / f"{name}.pt" for name in ("vision", "joint", "polish"))
    base = args.work / f"joint.{BASE_STEP}.pt"
    both = ("--seed", args.seed, "--threads", args.threads)
    counts = (f"crowd={CROWD}", f"flock={FLOCK}", f"whole={WHOLE}")
    stage("views.py", views, *counts, "--workers", args.threads)
    stage("vision.py", "--cache", views, "--out", vision, "--steps", VISION_STEPS, *both)
    stage("episodes.py", episodes, EPISODES, "--workers", args.threads)
    stage(
        "joint.py", "--episodes", episodes, "--vision", vision, "--out", joint,
        "--steps", JOINT_STEPS, "--keep", BASE_STEP, *both,
    )  # fmt: skip
    stage(
        "polish.py", "--episodes", episodes, "--cache", views, "--vision", vision, "--joint", joint,
        "--out", polish, "--steps", POLISH_STEPS, "--lr", 1.2e-3, *both,
    )  # fmt: skip
    stage("export.py", "--vision", vision, "--joint", polish, "--out", args.out / "p2r-tiny")
    stage("export.py", "--vision", vision, "--joint", base, "--out", args.out / "p2r-tiny-base")


if __name__ == "__main__":
    main()
