"""Contract of model families."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from p2r_bench.adapter import Profile, TwoStage, load_profile
from p2r_bench.families import Budget, Family
from p2r_bench.testing.naming import named
from p2r_bench.testing.registering import registered_family
from p2r_bench.testing.samples import tiny_sample
from p2r_bench.types import Box, Sample, Size

SIZES: tuple[Size, ...] = (
    *((1, 1), (31, 33), (64, 448), (160, 120), (640, 480), (1000, 1000), (1021, 769), (479, 2000)),
    *((1920, 1080), (1080, 1920), (3840, 2160), (7680, 4320), (8192, 512), (300, 9000), (12000, 12001)),
)  # fmt: skip
"""Sizes of images from an icon to above 8K, with aspect ratios up to 30."""
BOXES = (Box((100.0, 200.0, 400.0, 900.0), "sign"), Box((0.0, 0.0, 1000.0, 500.0), "«sky»"))


class FamilyContract:
    """Contract of model families. Subclass it and name the family; pytest then runs the checks.

        class TestMosaic(FamilyContract):
            family = "mosaic"

    Attributes:
        family: The registered name, or the class.
        plugin: The module with the plugin's hooks; without it the plugin has to be installed.
        profile: Name of the profile to test under.
        budgets: Pixel budgets within which sizes are checked.
    """

    family: Any
    plugin: Any = None
    profile: str = "p2r"
    budgets: Sequence[Budget] = (Budget(65_536, 4_194_304), Budget(65_536, 1_003_520))

    def make(self) -> Family:
        """Return a fresh instance."""
        family: Family = named("family", self.family, self.plugin)()
        return family

    @pytest.fixture
    def two(self) -> Iterator[TwoStage]:
        """The two-stage adapter under the profile with this family."""
        with registered_family(self.make()) as family:
            yield TwoStage(load_profile(self.profile).with_family(family.name))

    def test_it_is_a_family(self) -> None:
        family = self.make()
        assert isinstance(family, Family), "subclass p2r_bench.families.Family"
        assert isinstance(family.version, str) and family.version
        assert isinstance(family.model_types, tuple), "`model_types` is a tuple of texts"
        if isinstance(self.family, str):
            assert family.name == self.family, "`name` must be the name it is registered under"

    def test_it_has_no_state(self) -> None:
        before = dict(vars(self.make()))
        family = self.make()
        for size, budget in self._images():
            family.fit(size, budget)
        assert vars(family) == before, "one instance serves all profiles of a process"

    def test_it_works_within_the_budgets(self) -> None:
        for budget in self.budgets:
            problem = self.make().problem(budget)
            assert problem is None, f"{problem}; give the contract other `budgets`"

    def test_sizes_are_aligned_and_inside_the_budget(self) -> None:
        family = self.make()
        for size, budget in self._images():
            width, height = family.fit(size, budget)
            assert width > 0 and height > 0
            assert width % family.alignment == height % family.alignment == 0, (size, budget)
            assert width * height <= budget.max_pixels, (size, budget)

    def test_a_fitted_size_is_kept_where_the_family_settles(self) -> None:
        family = self.make()
        if family.settles:
            for size, budget in self._images():
                fitted = family.fit(size, budget)
                assert family.fit(fitted, budget) == fitted, (
                    f"{size}: the models' processor would resize {fitted} once more; set `settles = False`"
                )

    def test_visual_tokens_are_positive_and_at_most_those_of_the_budget(self) -> None:
        family = self.make()
        for size, budget in self._images():
            tokens = family.visual_tokens(family.fit(size, budget))
            most = family.most_visual_tokens(budget)
            assert (tokens is None) == (most is None), "both counts are known, or neither"
            assert tokens is None or most is None or 0 < tokens <= most, (size, budget)

    def test_boxes_come_back_in_thousandths(self, two: TwoStage) -> None:
        sample = _photograph()
        sent = two.perceive_request(sample).recipes[0].size
        evidence = two.evidence(sample, self.make().boxes.write(BOXES, sent))
        assert evidence.parse_status == "boxes"
        assert [box.label for box in evidence.boxes] == [box.label for box in BOXES]
        for read, written in zip(evidence.boxes, BOXES, strict=True):
            assert read.xyxy == pytest.approx(written.xyxy, abs=1)

    def test_an_empty_list_holds_no_box(self, two: TwoStage) -> None:
        written = self.make().boxes.write([], (640, 480))
        assert two.evidence(_photograph(), written).boxes == ()

    def test_the_prompt_shows_the_notation(self, two: TwoStage) -> None:
        content = two.perceive_request(_photograph()).messages[-1].content
        assert self.make().boxes.example in "".join(
            part for part in content if isinstance(part, str)
        )

    def test_the_schema_fits_the_notation(self) -> None:
        notation = self.make().boxes
        if (schema := notation.schema) is not None:
            entry = schema["items"]
            assert schema["type"] == "array" and entry["type"] == "object"
            assert set(entry["required"]) == {notation.key, "label"} <= set(entry["properties"])
            corners = entry["properties"][notation.key]
            assert corners["minItems"] == corners["maxItems"] == 4

    def test_its_rules_are_in_the_hash_of_a_profile(self, two: TwoStage) -> None:
        profile: Profile = two.profile
        before = profile.hash
        changed = self.make()
        changed.version += " changed"  # type: ignore[misc]
        with registered_family(changed):
            assert load_profile(self.profile).with_family(changed.name).hash != before, (
                "`rules` must hold the version"
            )

    def _images(self) -> Iterator[tuple[Size, Budget]]:
        return ((size, budget) for budget in self.budgets for size in SIZES)


def _photograph() -> Sample:
    """Return a sample whose image reference has a size of 2000×1500 pixels."""
    sample = tiny_sample()
    return replace(sample, image=replace(sample.image, size=(2000, 1500)))
