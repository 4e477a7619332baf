"""TwoStage: requests with their images in order, evidence, and answers."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import replace

import pytest

from p2r_bench.adapter import TwoStage, load_profile
from p2r_bench.errors import ImageError
from p2r_bench.types import Box, Evidence, ImageRef, Request, Sample, Sampling

P2R = load_profile("p2r")
TWO = TwoStage(P2R)
THREE = '[{"bbox_2d": [0, 0, 500, 500], "label": "a"}, {"bbox_2d": [100, 100, 300, 300]}, {"bbox_2d": [600, 600, 900, 900]}]'
QUESTION = "What colour is the kite?\nOptions:\nA. red\nB. blue"

MakeSample = Callable[..., Sample]


def user_text(request: Request) -> str:
    (text,) = (part for part in request.messages[1].content if isinstance(part, str))
    return text


def every_request(two: TwoStage, sample: Sample) -> list[Request]:
    seen = two.evidence(sample, THREE)
    return [
        two.perceive_request(sample),
        two.reason_request(sample, seen),
        two.reason_request(sample, Evidence()),
        two.single_request(sample, "think"),
        two.single_request(sample, "answer"),
    ]


def test_every_request_has_a_system_message_then_images_then_text(make_sample: MakeSample) -> None:
    for request in every_request(TWO, make_sample()):
        system, user = request.messages
        assert (system.role, system.content) == ("system", (P2R.pack.system,))
        assert user.role == "user"
        assert user.content == (*request.recipes, user_text(request))
        assert request.sample_id == "row-1"


def test_every_request_holds_the_question_with_its_options(make_sample: MakeSample) -> None:
    for request in every_request(TWO, make_sample()):
        assert QUESTION in user_text(request)


def test_texts_are_the_packs(make_sample: MakeSample) -> None:
    texts = [user_text(request) for request in every_request(TWO, make_sample())]
    pack, ending = P2R.pack, P2R.pack.endings["choice"]
    regions = pack.regions_text(P2R.model_family.boxes, (1, 1))
    assert texts == [
        pack.perceive.format(question=QUESTION, regions=regions),
        pack.reason.format(question=QUESTION, ending=ending),
        pack.reason_whole.format(question=QUESTION, ending=ending),
        pack.think.format(question=QUESTION, ending=ending),
        pack.answer.format(question=QUESTION, bare_ending=pack.bare_endings["choice"]),
    ]
    assert len(set(texts)) == 5


def test_roles_and_their_sampling(make_sample: MakeSample) -> None:
    requests = every_request(TWO, make_sample())
    assert [r.role for r in requests] == ["perceive", "reason", "reason", "think", "answer"]
    for request in requests:
        assert request.sampling == P2R.sampling.for_role(request.role)


def test_finishing_a_sample_goes_before_starting_another(make_sample: MakeSample) -> None:
    first, *rest = every_request(TWO, make_sample())
    assert all(request.priority < first.priority for request in rest)


def test_the_annotated_image_comes_first_then_the_crops_in_box_order(
    make_sample: MakeSample,
) -> None:
    sample = make_sample((1200, 800))
    evidence = TWO.evidence(sample, THREE)
    request = TWO.reason_request(sample, evidence)
    annotated, *crops = request.recipes
    assert annotated == evidence.annotated
    assert [s.rect for s in annotated.strokes] == [
        (0, 0, 600, 400), (120, 80, 360, 240), (720, 480, 1080, 720),
    ]  # fmt: skip
    assert annotated.crop is None
    assert [crop.crop for crop in crops] == [
        (0, 0, 720, 480), (0, 0, 480, 320), (600, 400, 1200, 800),
    ]  # fmt: skip
    assert all(crop.strokes == () for crop in crops)


def test_only_the_first_three_boxes_are_cropped_and_all_are_drawn(make_sample: MakeSample) -> None:
    sample = make_sample()
    evidence = TWO.evidence_from_boxes(sample, [Box((i, i, i + 500, i + 500)) for i in range(5)])
    assert evidence.crop_boxes == (0, 1, 2)
    assert evidence.annotated is not None
    assert len(evidence.annotated.strokes) == len(evidence.boxes) == 5


def test_a_crop_that_fails_is_left_out_and_not_replaced_by_a_fourth(
    make_sample: MakeSample,
) -> None:
    boxes = [(0, 0, 500, 500), (3000, 0, 3100, 9), (500, 500, 900, 900), (1, 1, 99, 99)]
    evidence = TWO.evidence_from_boxes(make_sample(), [Box(b) for b in boxes])
    assert evidence.crop_boxes == (0, 2)
    assert evidence.ignored == ("box 1: no crop, no part of it can be cropped from the image",)
    assert evidence.annotated is not None
    assert len(evidence.annotated.strokes) == 4


def test_a_crop_too_thin_for_the_family_is_left_out(make_sample: MakeSample) -> None:
    sample = make_sample((20000, 400))
    flat = P2R.replace(crop=replace(P2R.crop, pad_fraction=0.0))
    evidence = TwoStage(flat).evidence_from_boxes(
        sample, [Box((0, 0, 1000, 3)), Box((0, 0, 9, 900))]
    )
    assert evidence.crop_boxes == (1,)


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "I see no kite.",
        '{"bbox_2d": null}',
        '[{"bbox_2d": [2000, 2000, 3000, 3000], "label": "a"}]',
    ],
)
def test_without_a_crop_stage_two_gets_the_original_and_no_word_of_regions(
    text: str, make_sample: MakeSample
) -> None:
    sample = make_sample()
    evidence = TWO.evidence(sample, text)
    assert evidence.annotated is None
    request = TWO.reason_request(sample, evidence)
    assert request.recipes == (TWO.whole(sample),)
    assert "region" not in user_text(request)
    assert request.role == "reason"


def test_only_valid_boxes_count_towards_the_first_three(make_sample: MakeSample) -> None:
    text = THREE.replace("[{", '[{"bbox_2d": null}, {"bbox_2d": [9, 9, 1, 1]}, {', 1)
    evidence = TWO.evidence(make_sample(), text)
    assert evidence.crop_boxes == (0, 1, 2)
    assert evidence.parse_status == "boxes"
    assert [reason.split(":")[0] for reason in evidence.ignored] == ["entry 0", "entry 1"]


def test_ground_truth_boxes_and_the_same_boxes_from_text_give_the_same_evidence(
    make_sample: MakeSample,
) -> None:
    sample = make_sample()
    read = TWO.evidence(sample, THREE)
    assert TWO.evidence_from_boxes(sample, read.boxes) == read


def test_ground_truth_without_a_usable_box_is_told_from_none(make_sample: MakeSample) -> None:
    sample = make_sample()
    assert TWO.evidence_from_boxes(sample, []).parse_status == "empty"
    unusable = TWO.evidence_from_boxes(sample, [Box((float("nan"), 0, 1, 1))])
    assert (unusable.parse_status, unusable.boxes) == ("invalid", ())


def test_newlines_follow_every_image_where_the_profile_says_so(make_sample: MakeSample) -> None:
    two = TwoStage(P2R.replace(newline_after_image=True))
    sample = make_sample()
    request = two.reason_request(sample, two.evidence(sample, THREE))
    content = request.messages[1].content
    assert content[:-1] == tuple(part for recipe in request.recipes for part in (recipe, "\n"))
    assert QUESTION in content[-1]


@pytest.mark.parametrize("call", ["perceive", "reason", "single"])
def test_sampling_is_overridden_for_one_call(call: str, make_sample: MakeSample) -> None:
    sample, wanted = make_sample(), {"temperature": 0.7, "seed": 3, "max_tokens": 9}
    request = {
        "perceive": lambda: TWO.perceive_request(sample, **wanted),
        "reason": lambda: TWO.reason_request(sample, Evidence(), **wanted),
        "single": lambda: TWO.single_request(sample, "think", **wanted),
    }[call]()
    assert request.sampling == Sampling(temperature=0.7, seed=3, max_tokens=9)


def test_an_unknown_sampling_field_is_refused(make_sample: MakeSample) -> None:
    with pytest.raises(TypeError, match="beams"):
        TWO.perceive_request(make_sample(), beams=5)


def test_a_schema_is_sent_to_the_perceiver_only_and_only_where_the_profile_says_so(
    make_sample: MakeSample,
) -> None:
    assert all(r.schema is None for r in every_request(TWO, make_sample()))
    perceive, *rest = every_request(TwoStage(P2R.replace(structured_boxes=True)), make_sample())
    assert perceive.schema == P2R.model_family.boxes.schema
    assert all(r.schema is None for r in rest)


def test_images_follow_the_profiles_policy(make_sample: MakeSample) -> None:
    two = TwoStage(load_profile("original-train-service"))
    sample = make_sample(orientation=6)
    for request in every_request(two, sample):
        for recipe in request.recipes:
            assert (recipe.source, recipe.exif, recipe.alpha) == ("d" * 64, "ignore", "drop")
            assert (recipe.route, recipe.transport) == ("exact", "jpeg:75")
    assert two.whole(sample).size == (1216, 800)
    assert TWO.whole(sample).size == (800, 1216)


def test_published_questions_are_asked_in_the_published_style_only(make_sample: MakeSample) -> None:
    sample = make_sample(published_question="Which?\n(A) red")
    original = TwoStage(load_profile("original-eval"))
    assert "Which?\n(A) red" in user_text(original.perceive_request(sample))
    assert QUESTION in user_text(TWO.perceive_request(sample))


def test_only_single_call_roles_make_a_single_request(make_sample: MakeSample) -> None:
    for role in ("perceive", "reason", "verify"):
        with pytest.raises(ValueError, match="not a single call"):
            TWO.single_request(make_sample(), role)


def test_answers_are_read_by_role() -> None:
    assert TWO.answer("<answer>B</answer>") == "B"
    assert TWO.answer("B") is None
    assert TWO.answer("B", "answer") == "B"


def test_an_image_that_was_not_probed_is_refused(make_sample: MakeSample) -> None:
    for ref in (
        ImageRef(data=b""),
        ImageRef(data=b"", size=(9, 9)),
        ImageRef(data=b"", digest="d"),
    ):
        with pytest.raises(ValueError, match="probe"):
            TWO.perceive_request(make_sample(image=ref))


def test_an_image_that_the_family_refuses_is_an_image_error(make_sample: MakeSample) -> None:
    for call in (TWO.perceive_request, TWO.whole):
        with pytest.raises(ImageError, match="aspect ratio over 200"):
            call(make_sample((4021, 20)))


def test_requests_and_evidence_can_be_sent_to_another_process(make_sample: MakeSample) -> None:
    sample = make_sample()
    evidence = TWO.evidence(sample, THREE)
    request = TWO.reason_request(sample, evidence)
    assert pickle.loads(pickle.dumps((evidence, request, P2R))) == (evidence, request, P2R)


def test_ids_of_different_requests_differ_and_of_equal_ones_agree(make_sample: MakeSample) -> None:
    requests = every_request(TWO, make_sample())
    assert len({request.id for request in requests}) == 5
    assert [r.id for r in requests] == [r.id for r in every_request(TWO, make_sample())]
