"""Optional members are declared once: documented, read through their protocols, and with defaults."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from p2r_bench import optional
from p2r_bench.adapter import load_profile
from p2r_bench.run.engines import max_images_of, roles_of
from p2r_bench.types import Ask, Prediction, Sample

ROOT = Path(__file__).parent.parent
MEMBERS = {
    member
    for name, protocol in vars(optional).items()
    if name.startswith("Has")
    for member in (*inspect.get_annotations(protocol), *vars(protocol))
    if not member.startswith("_")
}


class Plain:
    """A mode without optional members."""

    async def solve(self, sample: Sample, ask: Ask, profile: object) -> Prediction:
        return Prediction(sample.id)


class Tuned(Plain):
    """A mode with two."""

    roles = ("vote",)

    def max_images(self, profile: object) -> int:
        return 7


def test_a_mode_without_them_has_the_defaults() -> None:
    profile = load_profile("p2r")
    assert roles_of(Plain()) == ("perceive", "reason", "think", "answer")
    assert max_images_of(Plain(), profile) == profile.max_images
    assert optional.declared_roles(Plain) is None


def test_a_mode_with_them_is_asked() -> None:
    assert roles_of(Tuned()) == optional.declared_roles(Tuned) == ("vote",)
    assert max_images_of(Tuned(), load_profile("p2r")) == 7


@pytest.mark.parametrize("member", sorted(MEMBERS))
def test_optional_members_are_documented(member: str) -> None:
    pages = [*(ROOT / "docs" / "plugins").glob("*.md"), ROOT / "docs" / "engines.md"]
    assert any(re.search(rf"`{member}\b", page.read_text("utf-8")) for page in pages)


def test_optional_members_are_never_looked_up_by_a_string() -> None:
    looked_up = re.compile(rf"(?:get|has)attr\([\w.]+, \"({'|'.join(sorted(MEMBERS))})\"")
    folders = (ROOT / "p2r_bench", ROOT / "plugins", ROOT / "trainers")
    files = [file for folder in folders for file in folder.rglob("*.py")]
    found = {str(file): names for file in files if (names := looked_up.findall(file.read_text()))}
    assert not found
