"""The calls of every side, for the same samples, boxes and profile."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from p2r_bench_pra_grpo.config import GRPO
from p2r_bench_pra_grpo.images import SampleImages
from p2r_bench_pra_grpo.reward import Rewarder
from p2r_bench_pra_grpo.stage import CALL_ROLE, NoReward, StageRole

from p2r_bench.adapter import Profile, TwoStage
from p2r_bench.session import evaluate
from p2r_bench.types import Completion, Request, Sample
from pra_grpo_testing.parity.recording import ANSWER, ENGINE, TASK, comparing
from pra_grpo_testing.parity.rendered import Calls, Rendered, canonical, pixels, rendered
from pra_grpo_testing.parity.samples import boxes_for


def by_evaluation(samples: Sequence[Sample], profile: str, out: Path) -> Calls:
    """Return the calls of `p2r-bench run` in the modes p2r and thinking.

    Args:
        profile: Name or path.
        out: Folder of the runs, which must not exist.
    """
    with comparing(samples) as calls:
        results = evaluate(
            ["p2r", "thinking"],
            TASK,
            "recorded",
            engine=ENGINE,
            out=out,
            profile=profile,
            judge_params={
                "verifier": {"url": "http://127.0.0.1:9/v1", "model": "none", "retries": 0}
            },
        )
        assert all(result.added == len(samples) for result in results)
        return dict(calls)


def by_reward(samples: Sequence[Sample], rewarder: Rewarder) -> Calls:
    """Return the reward's own calls, as rendered: those of the frozen model, and the replayed ones."""
    calls: dict[tuple[str, str], Rendered] = {}
    images = SampleImages(samples)

    async def note(request: Request) -> Completion:
        async with images.of(request) as made:
            calls[request.sample_id, request.role] = rendered(request, made)
        return Completion(ANSWER, request=request)

    async def one(sample: Sample) -> None:
        said, thought = Completion(boxes_for(sample)), Completion(ANSWER)
        for coming in (
            rewarder.perceiver(sample, said, note),
            rewarder.reasoner(sample, said, thought),
            rewarder.baseline(sample, thought),
        ):
            try:
                reward = await coming
            except (
                NoReward
            ):  # the verifier of free answers is not there: its calls are compared all the same
                continue
            for completion in reward.prediction.completions:
                request = completion.request
                assert request is not None
                key = request.sample_id, request.role
                before = calls.get(key)
                await note(request)
                if before is not None and before != calls[key]:
                    raise AssertionError(f"{key}: the reward renders a call in two ways")

    async def work() -> None:
        for sample in samples:
            await one(sample)

    try:
        asyncio.run(work())
    finally:
        images.close()
    return calls


def by_lmms_eval(samples: Sequence[Sample], profile: str, out: Path) -> Calls:
    """Return the calls of the lmms-eval models, from their own code behind the reading of documents."""
    from p2r_bench_lmms_eval.runs import Job, run_jobs

    from p2r_bench.run.spec import EngineChoice, RunSpec

    class Given:
        """Documents that are the samples."""

        name = member = "parity"

        def __len__(self) -> int:
            return len(samples)

        def sample(self, number: int) -> Sample:
            return replace(samples[number], id=str(number), task=self.name)

        def digest(self) -> str:
            return "parity"

    numbered = [replace(sample, id=str(n)) for n, sample in enumerate(samples)]
    texts = {str(n): sample for n, sample in enumerate(samples)}
    with comparing(numbered) as calls, _boxes_of(texts):
        for mode in ("p2r", "thinking"):
            choice = EngineChoice("recorded", ENGINE)
            spec = RunSpec(task=TASK, mode=mode, choice=choice, profile=profile, out=out)
            run_jobs(spec, [Job(Given(), [(n, 0) for n in range(len(samples))])])  # type: ignore[arg-type]
        return {
            (texts[number].id, role): replace(call, sample_id=texts[number].id)
            for (number, role), call in calls.items()
        }


def by_embedded(samples: Sequence[Sample], profile: Profile, role: StageRole) -> Calls:
    """Return the input of the embedded trainer's policy; needs torch."""
    from p2r_bench_pra_grpo.backends.embedded.pictures import Pictures
    from p2r_bench_pra_grpo.backends.embedded.prompts import Prompts

    pictures = Pictures(samples)
    nothing: Any = None  # neither weights nor tokens are needed to build requests
    prompts = Prompts(role, TwoStage(profile), GRPO(), nothing, nothing, pictures)
    try:
        requests = [
            prompts.request(s, Completion(boxes_for(s)) if role == "reasoner" else None)
            for s in samples
        ]
        calls = {}
        for request, images in zip(requests, pictures.of(requests), strict=True):
            assert isinstance(images, tuple), images
            calls[request.sample_id, request.role] = rendered(request, images)
        return calls
    finally:
        pictures.close()


def by_verl(dataset: Any, role: StageRole) -> Calls:
    """Return the input of verl's agent loop from a `StageDataset`'s rows; needs verl.

    Args:
        dataset: Made from the rows of the samples, for a reasoner with `boxes_for` each.
    """

    async def work() -> dict[tuple[str, str], Rendered]:
        calls = {}
        for number in range(len(dataset)):
            row, request = dataset[number], dataset.request(number)
            made, _, _ = await dataset.process_multi_modal_info(row["raw_prompt"], 16, None)
            call = Rendered(
                request.sample_id,
                CALL_ROLE[role],
                canonical(row["raw_prompt"]),
                pixels(made or ()),
                asdict(request.sampling),
                request.schema,
            )
            calls[call.sample_id, call.role] = call
        return calls

    return asyncio.run(work())


class _boxes_of:
    """While it is open, `boxes_for` of a numbered sample is that of the sample it stands for."""

    def __init__(self, texts: dict[str, Sample]) -> None:
        self._texts = texts

    def __enter__(self) -> None:
        from pra_grpo_testing.parity import recording

        recording._by_id.update(self._texts)

    def __exit__(self, *_: object) -> None:
        return None


def roles_of(calls: Iterable[tuple[str, str]]) -> set[str]:
    """The roles among calls."""
    return {role for _, role in calls}
