"""A contract is worth what it catches: every rule of every contract has something that breaks it."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from p2r_bench import (
    Capabilities,
    Completion,
    DataSource,
    EngineConfig,
    EngineError,
    ImageRef,
    Metric,
    Prediction,
    Sample,
    TwoStage,
    UserError,
    Verdict,
    load_profile,
)
from p2r_bench.engines.scripted import ScriptedEngine
from p2r_bench.families import BoxNotation, Budget
from p2r_bench.families.qwen3_vl import Qwen3VL
from p2r_bench.judges.strict import Strict
from p2r_bench.modes.p2r import P2R
from p2r_bench.testing import (
    EngineContract,
    FamilyContract,
    JudgeContract,
    ModeContract,
    ServiceJudgeContract,
    TaskContract,
    TrainerContract,
    tiny_sample,
)
from p2r_bench.testing.registering import registered_family
from p2r_bench.types import Ask, DataFacts, Request, Size

SERIAL = itertools.count()
BREAKS = (AssertionError, pytest.fail.Exception, NotImplementedError)


def caught(contract: Any, rule: str, *args: Any) -> None:
    """The rule must fail on this contract."""
    with pytest.raises(BREAKS):
        getattr(contract, rule)(*args)


class Guesses(P2R):
    async def solve(self, sample: Sample, ask: Ask, profile: Any) -> Prediction:
        prediction = await super().solve(sample, ask, profile)
        return prediction if prediction.answer else replace(prediction, answer="A")


class HidesErrors(P2R):
    async def solve(self, sample: Sample, ask: Ask, profile: Any) -> Prediction:
        try:
            return await super().solve(sample, ask, profile)
        except EngineError:
            return Prediction(sample.id, answer="A")


class DropsCompletions(P2R):
    async def solve(self, sample: Sample, ask: Ask, profile: Any) -> Prediction:
        prediction = await super().solve(sample, ask, profile)
        return replace(prediction, completions=prediction.completions[-1:])


class CountsTwice(P2R):
    async def solve(self, sample: Sample, ask: Ask, profile: Any) -> Prediction:
        prediction = await super().solve(sample, ask, profile)
        return replace(prediction, completions=prediction.completions * 2)


class CallsAnotherRole(P2R):
    roles = ("perceive",)


class ManyImages:
    async def solve(self, sample: Sample, ask: Ask, profile: Any) -> Prediction:
        two = TwoStage(profile)
        request = two.single_request(sample, "think")
        system, user = request.messages
        many = replace(user, content=(*[two.whole(sample)] * 9, user.content[-1]))
        reply = await ask(replace(request, messages=(system, many)))
        return Prediction(sample.id, answer=two.answer(reply.text), completions=(reply,))


class Forgetful(P2R):
    """Keeps the sample in itself, so that two at once mix."""

    async def solve(self, sample: Sample, ask: Ask, profile: Any) -> Prediction:
        self.sample = sample
        two = TwoStage(profile)
        look = await ask(two.perceive_request(sample))
        thought = await ask(two.reason_request(self.sample, two.evidence(sample, look.text)))
        return Prediction(sample.id, answer=two.answer(thought.text), completions=(look, thought))


class Brittle(P2R):
    async def solve(self, sample: Sample, ask: Ask, profile: Any) -> Prediction:
        look = await ask(TwoStage(profile).perceive_request(sample))
        json.loads(look.text)
        return await super().solve(sample, ask, profile)


class Changing(P2R):
    turns = 0

    async def solve(self, sample: Sample, ask: Ask, profile: Any) -> Prediction:
        Changing.turns += 1
        question = f"{sample.question} ({Changing.turns})"
        return await super().solve(replace(sample, question=question), ask, profile)


class Shields(P2R):
    async def solve(self, sample: Sample, ask: Ask, profile: Any) -> Prediction:
        async def shielded(request: Request) -> Completion:
            return await asyncio.shield(ask(request))

        return await super().solve(sample, shielded, profile)


@pytest.mark.parametrize(
    ("mode", "rule"),
    [
        (Guesses, "test_silence_is_no_answer"),
        (HidesErrors, "test_an_engine_error_reaches_the_runner"),
        (DropsCompletions, "test_every_call_is_accounted_for"),
        (CountsTwice, "test_every_call_is_accounted_for"),
        (CallsAnotherRole, "test_calls_are_of_the_roles_that_the_mode_names"),
        (ManyImages, "test_images_can_be_made_and_are_as_many_as_promised"),
        (Forgetful, "test_samples_at_once_do_not_mix"),
        (Changing, "test_the_same_replies_give_the_same_requests"),
        (Shields, "test_cancelling_reaches_the_call"),
        (dict, "test_it_is_a_mode"),
    ],
)
def test_mode_that_breaks_a_rule_is_caught(mode: type, rule: str) -> None:
    contract = ModeContract()
    contract.mode = mode
    caught(contract, rule)


def test_mode_that_raises_on_a_reply_is_caught() -> None:
    contract = ModeContract()
    contract.mode = Brittle
    with pytest.raises(json.JSONDecodeError):
        contract.test_no_reply_makes_it_raise("I cannot tell.")


def test_mode_with_another_answer_is_caught() -> None:
    class Wrong(P2R):
        async def solve(self, sample: Sample, ask: Ask, profile: Any) -> Prediction:
            return replace(await super().solve(sample, ask, profile), answer="C")

    contract = ModeContract()
    contract.mode = Wrong
    caught(contract, "test_the_right_replies_give_the_right_answer", tiny_sample())


class Lenient(Strict):
    """Breaks what a subclass says it breaks."""

    change: Mapping[str, Any] = {}

    async def judge(self, sample: Sample, prediction: Prediction) -> Verdict:
        return replace(await super().judge(sample, prediction), **self.change)


class AlwaysRight(Lenient):
    change = {"correct": True, "extracted": "A"}  # noqa: RUF012


class AlwaysWrong(Lenient):
    change = {"correct": False}  # noqa: RUF012


class Undecided(Lenient):
    change = {"correct": None}  # noqa: RUF012


class OutOfBounds(Lenient):
    change = {"span": (0, 99)}  # noqa: RUF012


class Anonymous(Lenient):
    change = {"scorer": "other"}  # noqa: RUF012


class AppliesToNothing(Strict):
    def applies(self, sample: Sample) -> bool:
        return False


class Moody(Strict):
    turns = 0

    async def judge(self, sample: Sample, prediction: Prediction) -> Verdict:
        Moody.turns += 1
        return replace(await super().judge(sample, prediction), extracted=f"{Moody.turns}")


class NeedsParameters(Strict):
    def __init__(self, level: int) -> None:
        self.level = level


@pytest.mark.parametrize(
    ("judge", "rule", "args"),
    [
        (AlwaysRight, "test_no_answer_is_wrong", ()),
        (AlwaysWrong, "test_the_right_answer_is_right", ()),
        (Undecided, "test_no_answer_text_makes_it_raise", ("Z",)),
        (OutOfBounds, "test_no_answer_text_makes_it_raise", ("Z",)),
        (Anonymous, "test_verdicts_say_who_decided", ()),
        (AppliesToNothing, "test_it_applies_to_some_samples", ()),
        (Moody, "test_the_same_answer_gets_the_same_verdict_also_at_once", ()),
        (dict, "test_it_is_a_judge", ()),
    ],
)
def test_judge_that_breaks_a_rule_is_caught(judge: type, rule: str, args: Any) -> None:
    contract = JudgeContract()
    contract.judge = judge
    caught(contract, rule, *args)


def test_judge_that_needs_parameters_is_caught() -> None:
    contract = JudgeContract()
    contract.judge = NeedsParameters
    with pytest.raises(TypeError):
        contract.test_it_can_be_made_without_parameters()


def test_judge_that_judges_otherwise_than_named_is_caught() -> None:
    for right, wrong in ((("C",), ()), ((), ("B",))):
        contract = JudgeContract()
        contract.judge, contract.right, contract.wrong = "strict", right, wrong
        caught(contract, "test_the_named_answers_are_judged_as_named")


def test_judge_whose_failing_service_makes_a_wrong_answer_is_caught() -> None:
    class Contract(ServiceJudgeContract):
        judge = "strict"

        def make_broken(self) -> Strict:
            return AlwaysWrong()

    caught(Contract(), "test_a_failing_service_makes_an_error_and_never_a_wrong_answer")


class Rows:
    """A task of one row; a subclass breaks one thing."""

    name = "rows"
    metrics: Sequence[Metric] = (Metric(),)
    change: Mapping[str, Any] = {}
    copies = 1

    def samples(self, source: DataSource) -> Iterator[Sample]:
        for _ in range(self.copies):
            yield replace(tiny_sample(), **{"task": self.name, **self.change})

    def data_digest(self, source: DataSource) -> str:
        return "always the same"

    def cells(self, sample: Sample) -> tuple[tuple[str | None, str | None], ...]:
        return ((None, None),)


def rows(**attributes: Any) -> type:
    return type("Broken", (Rows,), attributes)


@pytest.mark.parametrize(
    ("task", "rule"),
    [
        (rows(metrics=()), "test_it_is_a_task"),
        (rows(copies=2), "test_ids_are_unique_and_stable"),
        (rows(change={"task": "other"}), "test_rows_can_be_stored_and_sent_to_another_process"),
        (rows(change={"answer": "E"}), "test_questions_can_be_asked_and_judged"),
        (rows(change={"question": "Which?\nA. red"}), "test_the_bare_question_does_not_hold_the_options"),
        (rows(change={"boxes": (replace(tiny_sample().boxes[0], xyxy=(9, 0, 1, 1)),)}), "test_boxes_are_usable"),
        (rows(cells=lambda self, sample: ()), "test_every_row_counts_in_a_reported_figure"),
        (rows(metrics=(Metric(per="question"),)), "test_a_metric_per_question_has_questions_of_several_rows"),
    ],
)  # fmt: skip
def test_task_that_breaks_a_rule_is_caught(task: Any, rule: str) -> None:
    contract = TaskContract()
    contract.task = task
    samples = list(task().samples(DataSource()))
    takes = {"test_it_is_a_task": (), "test_ids_are_unique_and_stable": (DataSource(), samples)}
    caught(contract, rule, *takes.get(rule, (samples,)))


def facts(**values: Any) -> Any:
    return lambda self, source, samples: DataFacts(**values)


@pytest.mark.parametrize(
    "data_facts",
    [
        facts(kind="invented"),
        facts(chance=25.0),
        facts(unavailable={"speed": {(None, None): "not measured"}}),
        facts(unavailable={"accuracy": {("5K", None): "no such cell"}}),
        facts(unavailable={"accuracy": {(None, None): ""}}),
        lambda self, source, samples: DataFacts(note=str(next(SERIAL))),
    ],
)
def test_task_with_unusable_facts_is_caught(data_facts: Any) -> None:
    contract = TaskContract()
    contract.task = rows(data_facts=data_facts)
    samples = list(contract.make().samples(DataSource()))
    caught(contract, "test_facts_about_the_data_are_usable", DataSource(), samples)


def test_task_whose_scan_yields_other_rows_is_caught() -> None:
    contract = TaskContract()
    contract.task = rows(scan=lambda self, source: iter([]))
    samples = list(contract.make().samples(DataSource()))
    caught(contract, "test_a_scan_yields_the_samples", DataSource(), samples)


def test_task_that_returns_a_list_is_caught() -> None:
    contract = TaskContract()
    contract.task = rows(samples=lambda self, source: [tiny_sample()])
    caught(contract, "test_rows_are_samples_and_stream", DataSource())


def test_task_whose_digest_does_not_see_the_data_is_caught(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text("{}", "utf-8")
    contract = TaskContract()
    contract.task = Rows
    caught(contract, "test_other_data_has_another_digest", DataSource(tmp_path), [])


def test_task_with_an_unreadable_image_is_caught() -> None:
    contract = TaskContract()
    contract.task = Rows
    broken = replace(tiny_sample(), image=ImageRef(data=b"no image"))
    with pytest.raises(Exception, match="not a readable image"):
        contract.test_images_can_be_read([broken])


def test_task_that_has_rows_without_data_or_takes_any_parameter_is_caught(tmp_path: Path) -> None:
    contract = TaskContract()
    contract.task = Rows
    caught(contract, "test_missing_data_is_refused_with_the_way_out", tmp_path)
    caught(contract, "test_unknown_parameter_is_refused", DataSource())


class Careless(ScriptedEngine):
    """Takes any argument, any images, and answers at any length, differently each time."""

    def __init__(self, config: EngineConfig) -> None:
        super().__init__(EngineConfig(config.model))
        self.count = 0

    def capabilities(self) -> Capabilities:
        return Capabilities(concurrency=0)

    async def identify(self) -> str:
        return str(next(SERIAL))

    async def generate(self, request: Request, images: Sequence[Any]) -> Completion:
        self.count += 1
        return Completion(f"number {self.count}", output_tokens=2)

    async def close(self) -> None:
        if not self.running:
            raise AssertionError("closed twice")
        self.running = False


@pytest.mark.parametrize(
    "rule",
    [
        "test_it_identifies_the_weights_without_starting",
        "test_unknown_argument_is_refused",
        "test_capabilities_are_known_after_start",
        "test_at_temperature_0_the_same_request_gives_the_same_text",
        "test_the_token_cap_is_kept",
        "test_images_that_do_not_fit_the_request_are_refused",
        "test_closing_twice_and_closing_unstarted_are_safe",
    ],
)
def test_engine_that_breaks_a_rule_is_caught(rule: str) -> None:
    contract = EngineContract()
    contract.engine = Careless
    caught(contract, rule)


class Stuck(ScriptedEngine):
    """One request at a time, and a cancelled one keeps its place."""

    async def generate(self, request: Request, images: Sequence[Any]) -> Completion:
        if self.requests:
            raise EngineError("the one place is taken")
        self.requests.append(request)
        await asyncio.sleep(0.01)
        return Completion("seen")


@pytest.mark.parametrize(
    "rule",
    [
        "test_a_cancelled_request_leaves_the_engine_working",
        "test_requests_at_once_are_all_answered",
    ],
)
def test_engine_that_loses_requests_is_caught(rule: str) -> None:
    contract = EngineContract()
    contract.engine = Stuck
    with pytest.raises(EngineError):
        getattr(contract, rule)()


class Again:
    """A trainer that does everything again, and that takes steps while it plans."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.file = Path(config["output"]) / "log"

    def plan(self) -> list[dict[str, Any]]:
        self.run()
        return [{"step": 1}]

    def run(self) -> None:
        self.file.write_text(self._log() + "again\n", "utf-8")

    def status(self) -> dict[str, Any]:
        return {"lines": len(self._log().splitlines())}

    def _log(self) -> str:
        return self.file.read_text("utf-8") if self.file.exists() else ""


class Idle(Again):
    def run(self) -> None: ...


class TrainerOf(TrainerContract):
    def __init__(self, trainer: type) -> None:
        self.trainer = trainer

    def config(self, folder: Path) -> Mapping[str, Any]:
        return {"output": str(folder)}


@pytest.mark.parametrize(
    ("trainer", "rule"),
    [
        (Again, "test_the_plan_takes_no_step"),
        (Again, "test_a_configuration_with_an_unknown_key_is_refused"),
        (Idle, "test_a_run_does_what_is_planned_and_says_so"),
    ],
)
def test_trainer_that_breaks_a_rule_is_caught(trainer: type, rule: str, tmp_path: Path) -> None:
    caught(TrainerOf(trainer), rule, tmp_path)


def test_trainer_that_does_everything_again_is_caught(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="must not do again"):
        TrainerOf(Again).test_a_finished_run_can_be_called_again(tmp_path)


class Enlarges(Qwen3VL):
    def fit(self, size: Size, budget: Budget) -> Size:
        wide, high = super().fit(size, budget)
        return 2 * wide, 2 * high


class Unaligned(Qwen3VL):
    def fit(self, size: Size, budget: Budget) -> Size:
        wide, high = super().fit(size, budget)
        return wide - 1, high


class Restless(Qwen3VL):
    def fit(self, size: Size, budget: Budget) -> Size:
        wide, high = super().fit(size, budget)
        return max(32, wide - 32), high


class CountsNothing(Qwen3VL):
    def visual_tokens(self, size: Size) -> int:
        return 0


class CountsSometimes(Qwen3VL):
    def most_visual_tokens(self, budget: Budget) -> None:  # type: ignore[override]
        return None


class Counting(Qwen3VL):
    def __init__(self) -> None:
        self.calls = 0

    def fit(self, size: Size, budget: Budget) -> Size:
        self.calls += 1
        return super().fit(size, budget)


class NeedsMore(Qwen3VL):
    def problem(self, budget: Budget) -> str:
        return "max_pixels must be larger"


class Unversioned(Qwen3VL):
    @property
    def rules(self) -> Mapping[str, Any]:
        return {"name": self.name}


class Misplaces(BoxNotation):
    def in_order(self, values: Sequence[object]) -> Sequence[object]:
        return tuple(reversed(values))


class Misread(Qwen3VL):
    boxes = Misplaces()


class OtherKey(BoxNotation):
    @property
    def schema(self) -> dict[str, Any] | None:
        return BoxNotation(key="corners").schema


class WrongSchema(Qwen3VL):
    boxes = OtherKey()


@pytest.mark.parametrize(
    ("family", "rule"),
    [
        (dict, "test_it_is_a_family"),
        (Counting, "test_it_has_no_state"),
        (NeedsMore, "test_it_works_within_the_budgets"),
        (Enlarges, "test_sizes_are_aligned_and_inside_the_budget"),
        (Unaligned, "test_sizes_are_aligned_and_inside_the_budget"),
        (Restless, "test_a_fitted_size_is_kept_where_the_family_settles"),
        (CountsNothing, "test_visual_tokens_are_positive_and_at_most_those_of_the_budget"),
        (CountsSometimes, "test_visual_tokens_are_positive_and_at_most_those_of_the_budget"),
        (WrongSchema, "test_the_schema_fits_the_notation"),
        (Misread, "test_boxes_come_back_in_thousandths"),
        (Unversioned, "test_its_rules_are_in_the_hash_of_a_profile"),
    ],
)
def test_family_that_breaks_a_rule_is_caught(family: type, rule: str) -> None:
    contract = FamilyContract()
    contract.family = family
    if "two" not in getattr(contract, rule).__code__.co_varnames:
        caught(contract, rule)
        return
    with registered_family(family()) as served:
        caught(contract, rule, TwoStage(load_profile("p2r").with_family(served.name)))


def test_contract_without_what_it_needs_says_so() -> None:
    with pytest.raises(NotImplementedError, match="config"):
        TrainerContract().config(Path())
    with pytest.raises(UserError, match="pip install -e"):
        contract = ModeContract()
        contract.mode = "not-installed"
        contract.make()
