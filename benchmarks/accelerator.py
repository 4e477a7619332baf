"""On a GPU: the bundled model's answers against the CPU's, and a 4B model kept busy on 8K rows.

    python -m benchmarks.accelerator [--architecture qwen3-vl-4b] [--json]

Needs torch and transformers, no network, and at most eight minutes on one H100. First p2r-tiny answers the same rows in float32 on the
CPU and on the device: `equal_texts` is the share of rows with equal texts, `differences` lists the others. Then a model with
Qwen3-VL-4B's architecture and random weights, made here, runs p2r over 8K rows through the `transformers` engine, pipelined and in
the barrier schedule. The boxes of its stage 1 come from `benchmarks.answers`, since random weights name none; every
call is computed all the same. The device's busy share is what the driver reports, sampled five times a second, and null
without a GPU. A Markdown table for `benchmarks/README.md` is printed before the last line, one JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from benchmarks import data
from benchmarks.answers import Answers
from benchmarks.barrier import BarrierLaunchers
from benchmarks.output import emit, options_of
from benchmarks.running import TASK, OneEngine, Timed, results_folder, samples_of, timed_run
from benchmarks.schedules import barrier_memory
from p2r_bench.bundled import resolve_model
from p2r_bench.run.engines import EngineSet
from p2r_bench.run.spec import EngineChoice, RunSpec
from p2r_bench.types import Completion, Engine, Request

SAMPLES_PER_S = 5.0
SMALL_MODEL = "p2r-tiny"
PROFILE = """
name = "accelerator"
extends = "{base}"

[sampling.perceive]
max_tokens = {perceive}

[sampling.reason]
max_tokens = {reason}
"""
PROFILES = {
    # As many tokens as trained models use: random weights seldom stop by themselves.
    "qwen3-vl-4b": {"base": "p2r", "perceive": 48, "reason": 256},
    "tiny": {"base": "tiny", "perceive": 4, "reason": 8},
}

ARCHITECTURES: dict[str, dict[str, dict[str, Any]]] = {
    "qwen3-vl-4b": {
        "text_config": {
            "hidden_size": 2560,
            "intermediate_size": 9728,
            "num_hidden_layers": 36,
            "num_attention_heads": 32,
            "num_key_value_heads": 8,
            "head_dim": 128,
            "vocab_size": 151936,
            "max_position_embeddings": 65536,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 5e6,
                "mrope_interleaved": True,
                "mrope_section": [24, 20, 20],
            },
        },
        "vision_config": {
            "depth": 24,
            "hidden_size": 1024,
            "intermediate_size": 4096,
            "num_heads": 16,
            "num_position_embeddings": 2304,
            "out_hidden_size": 2560,
            "deepstack_visual_indexes": [5, 11, 17],
        },
    },
    "tiny": {"text_config": {"max_position_embeddings": 65536}, "vision_config": {}},
}
"""Changes to the bundled model's configuration; "tiny" is for tests."""


def make_model(folder: Path, architecture: str, device: str) -> Path:
    """Return a model folder of this architecture with random weights and the bundled model's tokenizer."""
    from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

    source = resolve_model(SMALL_MODEL)
    shutil.copytree(
        source, folder, ignore=shutil.ignore_patterns("*.safetensors", "p2r_bench.json")
    )
    settings = json.loads((folder / "config.json").read_text("utf-8"))
    dtype = torch.bfloat16 if device.startswith("cuda") else torch.float32
    for part, changes in ARCHITECTURES[architecture].items():
        settings[part] |= changes
    torch.manual_seed(0)
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            model = Qwen3VLForConditionalGeneration(Qwen3VLConfig(**settings))
    finally:
        torch.set_default_dtype(torch.float32)
    model.save_pretrained(folder)
    return folder


class DrivenEngine:
    """An engine whose stage 1 is computed, with a reply by a rule."""

    def __init__(self, engine: Engine, answers: Answers) -> None:
        self._engine = engine
        self._answers = answers

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    async def generate(self, request: Request, images: Sequence[Image.Image]) -> Completion:
        """See `Engine.generate`."""
        answering = self._engine.generate(request, images)
        del images  # the engine drops the images to free their room
        completion = await answering
        if request.role != "perceive":
            return completion
        return replace(completion, text=self._answers(request))


class BusyShare:
    """Sampler of the device's utilization during a block.

    Attributes:
        share: Mean of the samples, 0 to 1; None without samples.
    """

    def __init__(self, device: str) -> None:
        self.share: float | None = None
        self._read = utilization() if device.startswith("cuda") else None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> BusyShare:
        if self._read is not None:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        if self._read is not None:
            self._thread.join()

    def _sample(self) -> None:
        assert self._read is not None
        seen = []
        while not self._ended.wait(1 / SAMPLES_PER_S):
            seen.append(self._read())
        if seen:
            self.share = round(sum(seen) / len(seen) / 100, 3)


def utilization() -> Callable[[], float] | None:
    """Return a function that reads the device's utilization in percent (torch with pynvml, else `nvidia-smi`), or None."""
    with suppress(Exception):
        torch.cuda.utilization()
        return lambda: float(torch.cuda.utilization())
    if shutil.which("nvidia-smi") is None:
        return None
    command = [
        "nvidia-smi",
        "-i",
        "0",
        "--query-gpu=utilization.gpu",
        "--format=csv,noheader,nounits",
    ]
    return lambda: float(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


@dataclass(frozen=True)
class Measured:
    """A run, with the utilization of the device and of the engine."""

    timed: Timed
    device_share: float | None
    engine_share: float


async def compare_answers(options: argparse.Namespace) -> dict[str, Any]:
    """Run the bundled model on the CPU and on the device, over the same rows in float32."""
    folder = data.large_rows(options.cache_dir, options.rows, "4k")
    texts, rates = {}, {}
    for device in ("cpu", options.device):
        args = {"device": device, "dtype": "float32"}
        choice = EngineChoice(SMALL_MODEL, "transformers", args=args)
        engines = EngineSet()
        try:
            with results_folder() as out:
                spec = RunSpec(TASK, choice=choice, data_dir=folder, out=out, limit=options.rows)
                timed = await timed_run(spec, engines)
        finally:
            await engines.close()
        texts[device], rates[device] = timed.texts, round(timed.rows_per_s, 2)
    there, here = texts[options.device], texts["cpu"]
    different = [
        {"sample_id": sample, "cpu": said, options.device: there[sample]}
        for sample, said in here.items()
        if said != there[sample]
    ]
    return {
        "rows": len(here),
        "equal_texts": round(1 - len(different) / len(here), 4),
        "differences": different,
        "rows_per_s_cpu": rates["cpu"],
        "rows_per_s_device": rates[options.device],
    }


async def compare_schedules(options: argparse.Namespace) -> dict[str, Any]:
    """Run a large model over 8K rows, pipelined and in the barrier schedule."""
    folder = data.large_rows(options.cache_dir, options.large_rows, options.resolution)
    answers = Answers(samples_of(folder))
    with tempfile.TemporaryDirectory(prefix="p2r-bench-model-") as scratch:
        model = make_model(Path(scratch) / "model", options.architecture, options.device)
        profile = Path(scratch) / "accelerator.toml"
        profile.write_text(PROFILE.format(**PROFILES[options.architecture]), "utf-8")
        args = {"device": options.device}
        choice = EngineChoice(str(model), "transformers", args=args)
        engine = DrivenEngine(EngineSet().get(choice), answers)
        running = OneEngine(engine)  # type: ignore[arg-type]
        try:
            await _run(options, running, choice, folder, profile, rows=4)  # warm-up
            pipelined = await _run(options, running, choice, folder, profile)
            barrier = await _run(options, running, choice, folder, profile, barrier=True)
        finally:
            await engine.close()
    return {
        "architecture": options.architecture,
        "large_rows": options.large_rows,
        "resolution": options.resolution,
        "rows_per_s": round(pipelined.timed.rows_per_s, 3),
        "rows_per_s_barrier": round(barrier.timed.rows_per_s, 3),
        "ratio": round(pipelined.timed.rows_per_s / barrier.timed.rows_per_s, 2),
        "busy_share": pipelined.device_share,
        "busy_share_barrier": barrier.device_share,
        "engine_busy_share": pipelined.engine_share,
        "engine_busy_share_barrier": barrier.engine_share,
    }


async def _run(
    options: argparse.Namespace,
    engines: EngineSet,
    choice: EngineChoice,
    folder: Path,
    profile: Path,
    rows: int | None = None,
    *,
    barrier: bool = False,
) -> Measured:
    memory = {"image_memory": barrier_memory()} if barrier else {}
    with results_folder() as out, BusyShare(options.device) as busy:
        spec = RunSpec(
            TASK,
            choice=choice,
            data_dir=folder,
            out=out,
            limit=rows or options.large_rows,
            profile=str(profile),
            canaries="off",  # random weights fail the start-up checks
            **memory,  # type: ignore[arg-type]
        )
        timed = await timed_run(spec, engines, BarrierLaunchers(engines) if barrier else None)
    accounting = timed.result.accounting
    assert accounting is not None
    return Measured(timed, busy.share, accounting["engine"]["busy_share"])


def table(figures: dict[str, Any]) -> str:
    """Return the figures as a Markdown table."""
    device, rows = figures["device_name"], figures["rows"]
    lines = [
        "| on " + device + " | outcome |",
        "|---|---|",
        f"| {SMALL_MODEL}, {rows} rows, device against CPU | {100 * figures['equal_texts']:.1f} % equal texts; "
        f"{figures['rows_per_s_device']:.2f} against {figures['rows_per_s_cpu']:.2f} rows/s |",
    ]
    for name, end in (("pipelined", ""), ("barrier", "_barrier")):
        busy = figures[f"busy_share{end}"]
        device_busy = "unavailable" if busy is None else f"{100 * busy:.0f} %"
        lines.append(
            f"| {figures['architecture']}, random weights, {figures['large_rows']} rows of {figures['resolution']}, {name} | "
            f"{figures[f'rows_per_s{end}']:.2f} rows/s; device busy {device_busy}, engine busy "
            f"{100 * figures[f'engine_busy_share{end}']:.0f} % of the time |"
        )
    lines.append(f"| pipelined over barrier | {figures['ratio']:.2f} × |")
    return "\n".join(lines)


async def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Measure both parts."""
    cuda = options.device.startswith("cuda")
    begun = time.perf_counter()
    figures: dict[str, Any] = {
        "device": options.device,
        "device_name": torch.cuda.get_device_name() if cuda else "CPU",
        "torch": torch.__version__,
    }
    figures |= await compare_answers(options)
    figures |= await compare_schedules(options)
    return figures | {"minutes": round((time.perf_counter() - begun) / 60, 1)}


def main() -> None:
    parser = options_of(__doc__)
    found = "cuda" if torch.cuda.is_available() else "cpu"
    parser.add_argument("--device", default=found, help=f"cuda, cuda:N or cpu [{found}]")
    parser.add_argument("--architecture", choices=list(ARCHITECTURES), default="qwen3-vl-4b")
    parser.add_argument("--rows", type=int, default=96, help="rows for the bundled model [96]")
    parser.add_argument("--large-rows", type=int, default=48, help="rows for the large model [48]")
    parser.add_argument("--resolution", choices=["4k", "8k"], default="8k")
    data.add_option(parser)
    options = parser.parse_args()
    figures = asyncio.run(measure(options))
    if not options.json:
        print(table(figures), end="\n\n")
    lines = [(f"{figures['minutes']:.1f} min", "in all")]
    lines += [("differs", row["sample_id"]) for row in figures["differences"]]
    emit("accelerator", figures, lines, as_json=options.json)


if __name__ == "__main__":
    main()
