"""Pixel routes by name: nothing is imported before it is used, and what is missing is said."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from p2r_bench.adapter import load_profile, render
from p2r_bench.adapter.profile import diff_profiles
from p2r_bench.adapter.routes import ROUTES, resize_route
from p2r_bench.errors import UserError
from p2r_bench.types import Recipe, Size


@pytest.fixture
def without_torch(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "p2r_bench.torch_pixels", raising=False)
    resize_route.cache_clear()
    yield
    resize_route.cache_clear()


def test_the_fast_route_without_torch_is_refused_with_the_way_out(without_torch: None) -> None:
    with pytest.raises(UserError, match=r"'fast' cannot be used here.*torch.*pip install torch"):
        resize_route("fast")


def test_the_exact_route_needs_no_torch(without_torch: None) -> None:
    assert resize_route("exact")(Image.new("RGB", (9, 7)), (3, 2)).size == (3, 2)


@pytest.mark.parametrize("size", [(248, 298), (298, 120), (20, 10), (40, 310), (33, 10), (10, 300)])
def test_the_exact_route_takes_rows_before_columns_whatever_pillow_prefers(size: Size) -> None:
    pixels = np.random.default_rng(0).integers(0, 2, (300, 33, 3), dtype=np.uint8) * 255
    image, bicubic = Image.fromarray(pixels), Image.Resampling.BICUBIC
    expected = image.resize((size[0], 300), bicubic).resize(size, bicubic)
    assert resize_route("exact")(image, size).tobytes() == expected.tobytes()


def test_a_missing_route_is_refused_even_where_nothing_is_resized(without_torch: None) -> None:
    recipe = Recipe("d", "apply", "white", (), None, ((9, 7),), route="fast")
    with pytest.raises(UserError, match="'fast'"):
        render(recipe, Image.new("RGB", (9, 7)))


def test_another_route_is_another_profile_hash_and_nothing_else() -> None:
    profile = load_profile("p2r")
    fast = profile.with_route("fast")
    assert diff_profiles(profile, fast) == [("image.route", "exact", "fast")]
    assert fast.hash != profile.hash
    assert profile.with_route("exact").hash == profile.hash


@pytest.mark.parametrize("route", ROUTES)
def test_a_profile_file_may_name_the_route(route: str, tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    file.write_text(f'extends = "p2r"\n[image]\nroute = "{route}"\n')
    assert load_profile(file).image.route == route
