"""Documents lead where they say, index everything, and are about the project alone."""

from __future__ import annotations

import re
from importlib import metadata
from pathlib import Path

import pytest

from tests.documents import PAGES, ROOT, name, prose

LINK = re.compile(r"!?\[[^\]\n]*\]\(([^)\s]+)\)")
MACHINE_PATH = re.compile(r"(?<![\w.~*])/(?:work|root|home|Users|tmp|mnt|opt)/")
UNFINISHED = re.compile(r"\b(?:TODO|FIXME|TBD|XXX)\b")


def anchors(page: Path) -> set[str]:
    """Names of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_resolve(page: Path) -> None:
    for link in LINK.findall(prose(page)):
        if link.startswith(("http://", "https://")):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.is_relative_to(ROOT) and target.exists(), f"{link}: there is no such file"
        if anchor:
            assert anchor in anchors(target), f"{link}: there is no such heading"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_a_page_names_no_path_of_a_machine_and_leaves_nothing_open(page: Path) -> None:
    text = page.read_text("utf-8")
    assert not MACHINE_PATH.findall(text)
    assert not UNFINISHED.findall(text)


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in reached or not page.is_file():
            continue
        reached.add(page)
        links = (link.partition("#")[0] for link in LINK.findall(prose(page)))
        waiting += [(page.parent / link).resolve() for link in links if link.endswith(".md")]
    docs = {page for page in PAGES if page.is_relative_to(ROOT / "docs")}
    assert not {name(page) for page in docs - reached}


def test_every_decision_is_in_the_index() -> None:
    folder = ROOT / "docs" / "decisions"
    listed = set(LINK.findall((folder / "README.md").read_text("utf-8")))
    assert listed == {path.name for path in folder.glob("*.md")} - {"README.md"}


def test_extras_and_make_targets_that_are_named_exist() -> None:
    extras = set(metadata.metadata("p2r-bench").get_all("Provides-Extra") or [])
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    for page in PAGES:
        text = page.read_text("utf-8")
        for named in re.findall(r"pip install (?:-e )?'?(?:p2r-bench|\.)\[([\w,-]+)\]", text):
            if name(page).startswith(("docs/plugins/", "docs/guides/a-new", "plugins/")):
                continue  # extras of the plugin's own package
            assert set(named.split(",")) <= extras, f"{name(page)}: [{named}]"
        assert set(re.findall(r"`make ([\w-]+)`|^make ([\w-]+)", text, re.MULTILINE)) <= {
            pair for target in targets for pair in ((target, ""), ("", target))
        }, name(page)
