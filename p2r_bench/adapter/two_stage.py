"""The two-stage adapter: requests from a sample, evidence and answers from replies.

Evaluation, the lmms-eval models, the trainer's dataset and its reward all use it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from p2r_bench.adapter.annotation import strokes_for
from p2r_bench.adapter.answers import extract_answer
from p2r_bench.adapter.boxes import BoxReading, check_boxes, read_boxes
from p2r_bench.adapter.geometry import crop_rect, final_sizes, upright_size
from p2r_bench.adapter.profile import Profile
from p2r_bench.errors import ImageError
from p2r_bench.types import Box, Evidence, Message, Recipe, Rect, Request, Sample, Sampling, Stroke

REASON_FIRST = -1
"""Priority of stage 2 and single calls, so that samples are finished before others are begun."""


class TwoStage:
    """Requests, evidence and answers under one profile. Pure: no engine, no files, no pixels.

    Samples must be probed (`sample.image.size` and `.digest` known). Keyword arguments of the request
    methods override fields of the profile's sampling for that call, such as `temperature=0.7, seed=3`.
    """

    def __init__(self, profile: Profile) -> None:
        self.profile = profile

    def perceive_request(self, sample: Sample, **sampling: Any) -> Request:
        """Return the request of stage 1: the whole image and the question, to be answered with boxes.

        Raises:
            ImageError: A shape that the model family refuses.
        """
        schema = self.profile.model_family.boxes.schema if self.profile.structured_boxes else None
        return self._request(sample, "perceive", "perceive", [self.whole(sample)], sampling, schema)

    def evidence(self, sample: Sample, text: str) -> Evidence:
        """Return the evidence for stage 2 from the reply of stage 1; no reply raises."""
        return self._evidence(sample, read_boxes(text, self.profile, self.whole(sample).size))

    def evidence_from_boxes(self, sample: Sample, boxes: Sequence[Box]) -> Evidence:
        """Return the evidence of boxes from another source, such as the ground truth; unusable ones are ignored."""
        return self._evidence(sample, check_boxes(boxes))

    def reason_request(self, sample: Sample, evidence: Evidence, **sampling: Any) -> Request:
        """Return the request of stage 2: the annotated image, the crops in box order, and the question.

        Without a crop it has the original image and a prompt that does not mention regions.
        """
        if evidence.annotated is not None:
            images = [evidence.annotated, *evidence.crops]
            return self._request(sample, "reason", "reason", images, sampling)
        return self._request(sample, "reason", "reason_whole", [self.whole(sample)], sampling)

    def single_request(self, sample: Sample, role: str, **sampling: Any) -> Request:
        """Return a request on the whole image: role "answer" asks for the bare answer, "think" for reasoning first."""
        if role not in ("answer", "think"):
            raise ValueError(f'role {role!r} is not a single call: use "answer" or "think"')
        return self._request(sample, role, role, [self.whole(sample)], sampling)

    def shown_request(
        self, sample: Sample, images: Sequence[Recipe], role: str = "reason", **sampling: Any
    ) -> Request:
        """Return a request with these images, or with none, in the wording of role "think", which mentions no regions."""
        return self._request(sample, role, "think", images, sampling)

    def answer(self, text: str, role: str = "reason") -> str | None:
        """Return the answer in a reply by the profile's answer policy, or None; see `extract_answer`."""
        return extract_answer(text, role, self.profile)

    def whole(self, sample: Sample) -> Recipe:
        """Return the recipe of the whole image at the profile's budget.

        Raises:
            ImageError: A shape that the model family refuses.
        """
        return self._recipe(sample)

    def crop(self, sample: Sample, box: Box) -> Recipe | None:
        """Return the recipe of the padded crop around a box, or None when the crop is empty."""
        rect = crop_rect(box, upright_size(sample.image, self.profile.image.exif), self.profile)
        if rect is None:
            return None
        try:
            return self._recipe(sample, crop=rect)
        except ImageError:  # a sliver that the family's size rule refuses
            return None

    def _evidence(self, sample: Sample, reading: BoxReading) -> Evidence:
        ignored = list(reading.ignored)
        crops: list[Recipe] = []
        crop_boxes: list[int] = []
        for index, box in enumerate(reading.boxes[: self.profile.crop.count]):
            recipe = self.crop(sample, box)
            if recipe is None:
                ignored.append(f"box {index}: no crop, no part of it can be cropped from the image")
            else:
                crops.append(recipe)
                crop_boxes.append(index)
        annotated = None
        if crops:
            size = upright_size(sample.image, self.profile.image.exif)
            annotated = self._recipe(sample, strokes=strokes_for(reading.boxes, size, self.profile))
        return Evidence(
            boxes=reading.boxes,
            annotated=annotated,
            crops=tuple(crops),
            crop_boxes=tuple(crop_boxes),
            parse_status=reading.status,
            ignored=tuple(ignored),
        )

    def _recipe(
        self, sample: Sample, *, strokes: tuple[Stroke, ...] = (), crop: Rect | None = None
    ) -> Recipe:
        if sample.image.digest is None:
            raise ValueError(f"sample {sample.id}: probe the image before building requests")
        policy = self.profile.image
        size = upright_size(sample.image, self.profile.image.exif)
        shown = (crop[2] - crop[0], crop[3] - crop[1]) if crop else size
        sizes = final_sizes(shown, self.profile)
        return Recipe(
            source=sample.image.digest,
            exif=policy.exif,
            alpha=policy.alpha,
            strokes=strokes,
            crop=crop,
            resize=sizes,
            route=policy.route,
            transport=policy.transport,
            visual_tokens=self.profile.model_family.visual_tokens(sizes[-1]),
        )

    def _request(
        self,
        sample: Sample,
        role: str,
        template: str,
        images: Sequence[Recipe],
        sampling: dict[str, Any],
        schema: dict[str, Any] | None = None,
    ) -> Request:
        profile = self.profile
        content: list[str | Recipe] = []
        for image in images:
            content.append(image)
            if profile.newline_after_image:
                content.append("\n")
        regions = ""
        if images:
            regions = profile.pack.regions_text(profile.model_family.boxes, images[0].size)
        content.append(profile.pack.text(template, sample, profile.option_style, regions))
        return Request(
            sample_id=sample.id,
            role=role,
            messages=(Message("system", (profile.pack.system,)), Message("user", tuple(content))),
            sampling=_drawn(profile.sampling.for_role(role), sampling),
            priority=0 if role == "perceive" else REASON_FIRST,
            schema=schema,
        )


def _drawn(sampling: Sampling, changes: dict[str, Any]) -> Sampling:
    return dataclasses.replace(sampling, **changes) if changes else sampling
