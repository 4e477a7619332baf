"""`p2r-bench prompts import` on files in the published repository's shape, with wording of our own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from p2r_bench.adapter import TwoStage, load_pack, load_profile
from p2r_bench.cli import main
from p2r_bench.types import Evidence, ImageRef, Sample

FORMS = ("mca", "na", "free_form", "one_word", "caption", "yes_no")

_SHAPE = '''
"""Prompts."""
import os

PROMPT_TEMPLATES = {
    "default": {
        "pre_prompt": "Asked: {question}\\n",
        <bare>
    },
    "thinking": {
        "pre_prompt": (
            "Asked: {question}\\n"
            "Ponder. \\n"
        ),
        <endings>
    },
    "p2r": {
        "perceive_pre_prompt": "Asked: {question}\\n",
        "perceive_image_post_prompt": (
            "Where to look? "
            '[{"bbox_2d": [x1, y1, x2, y2], "label": "<thing>"}] '
            "or []."
        ),
        "pre_prompt": "Asked: {question}\\n" + "Ponder.\\n",
        "image_pre_prompt": ("Asked: {question}\\n" "See the parts. " "Ponder.\\n"),
        <endings>
    },
}


def build_system_prompt() -> str:
    return "Be brief."


if __name__ == "__main__":
    print(PROMPT_TEMPLATES)
    os.abort()
'''
EVALUATION = _SHAPE.replace(
    "<bare>", ", ".join(f'"{form}_post_prompt": "Bare {form}.\\n"' for form in FORMS)
).replace(
    "<endings>", ", ".join(f'"{form}_post_prompt": "Tagged {form} <answer>.\\n"' for form in FORMS)
)

TRAINING = """
SYSTEM_PROMPT = "Be very brief."
MAX_IMAGE_EVIDENCE = 3
PERCEIVE_PRE_PROMPT = "Q: {question}\\n"
PERCEIVE_IMAGE_POST_PROMPT = 'List [{"bbox_2d": [x1, y1, x2, y2], "label": "thing"}].'
REASON_PRE_PROMPT = "Q: {question}\\nSee the parts.\\n"
REASON_FALLBACK_PRE_PROMPT = "Q: {question}\\nPonder.\\n"
ANSWER_FORM_POST_PROMPTS = {
    "mca": "Letter <answer>.\\n",
    "na": "Number <answer>.\\n",
    "free_form": "Text <answer>.\\n",
}
raise SystemExit("this file must never run")
"""

OPTIONS = {"A": "red {not a field}", "B": "blue"}
SAMPLE = Sample(
    "s",
    "HR-Bench",
    ImageRef(data=b"", digest="0" * 64, size=(640, 480)),
    "What colour?",
    "A",
    options=OPTIONS,
)
QUESTION = "What colour?\nOptions:\nA. red {not a field}\nB. blue"


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in the shape of the published repository; the working folder is beside it."""
    files = {"evaluation/prompt.py": EVALUATION, "verl/verl/utils/dataset/p2r_dataset.py": TRAINING}
    for name, text in files.items():
        file = tmp_path / "checkout" / name
        file.parent.mkdir(parents=True)
        file.write_text(text, "utf-8")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "checkout"


def run(*args: object) -> Result:
    return CliRunner().invoke(main, ["prompts", *(str(arg) for arg in args)])


def refused(*args: object) -> str:
    result = run("import", *args)
    assert result.exit_code == 2
    assert result.output.startswith("Error: ") and "Traceback" not in result.output
    assert not Path("prompts").exists()
    return result.output


def texts(profile: str) -> dict[str, str]:
    """Return the prompts under a profile, by template."""
    two = TwoStage(load_profile(Path(profile).resolve()))
    evidence = two.evidence(SAMPLE, '[{"bbox_2d": [100, 100, 500, 500], "label": "x"}]')
    requests = {
        "perceive": two.perceive_request(SAMPLE),
        "reason": two.reason_request(SAMPLE, evidence),
        "reason_whole": two.reason_request(SAMPLE, Evidence()),
        "think": two.single_request(SAMPLE, "think"),
        "answer": two.single_request(SAMPLE, "answer"),
    }
    shown = {name: str(request.messages[-1].content[-1]) for name, request in requests.items()}
    return {"system": str(requests["answer"].messages[0].content[0]), **shown}


def test_import_reproduces_the_evaluation_wording_to_the_byte(checkout: Path) -> None:
    result = run("import", checkout)
    assert result.exit_code == 0, result.output
    assert (
        "p2r-bench run --profile prompts/published-evaluation.original-eval.toml" in result.output
    )
    assert texts("prompts/published-evaluation.original-eval.toml") == {
        "system": "Be brief.",
        "perceive": f"Asked: {QUESTION}\nWhere to look? "
        '[{"bbox_2d": [x1, y1, x2, y2], "label": "<thing>"}] or [].',
        "reason": f"Asked: {QUESTION}\nSee the parts. Ponder.\nTagged mca <answer>.\n",
        "reason_whole": f"Asked: {QUESTION}\nPonder.\nTagged mca <answer>.\n",
        "think": f"Asked: {QUESTION}\nPonder. \nTagged mca <answer>.\n",
        "answer": f"Asked: {QUESTION}\nBare mca.\n",
    }


def test_imported_pack_completes_the_published_profile_and_nothing_else_changes(
    checkout: Path,
) -> None:
    assert run("import", checkout).exit_code == 0
    imported = load_profile(Path("prompts/published-evaluation.original-eval.toml").resolve())
    builtin = load_profile("original-eval")
    assert imported.hash != builtin.hash
    assert imported.replace(name=builtin.name, pack=builtin.pack) == builtin


def test_import_of_the_training_path_completes_both_of_its_profiles(checkout: Path) -> None:
    assert run("import", checkout, "--from", "training", "--name", "mine").exit_code == 0
    assert sorted(f.name for f in Path("prompts").iterdir()) == [
        "mine.original-train-rollout.toml",
        "mine.original-train-service.toml",
        "mine.toml",
    ]
    shown = texts("prompts/mine.original-train-service.toml")
    assert (
        shown["perceive"]
        == f'Q: {QUESTION}\nList [{{"bbox_2d": [x1, y1, x2, y2], "label": "thing"}}].'
    )
    assert shown["system"] == "Be very brief."
    assert shown["answer"] == f"Asked: {QUESTION}\nBare mca.\n"
    assert load_pack(Path("prompts/mine.toml").resolve()).endings["word"] == "Text <answer>.\n"


def test_nothing_of_the_files_is_executed(checkout: Path) -> None:
    file = checkout / "evaluation" / "prompt.py"
    file.write_text(f"open('ran', 'w')\n{EVALUATION}", "utf-8")
    assert run("import", checkout).exit_code == 0
    assert not Path("ran").exists()


def test_single_file_is_recognised(checkout: Path) -> None:
    assert (
        run("import", checkout / "evaluation" / "prompt.py", "--out", "a/pack.toml").exit_code == 0
    )
    assert Path("a/pack.original-eval.toml").is_file()


def test_missing_constant_lists_the_candidates_and_map_takes_one(checkout: Path) -> None:
    file = checkout / "evaluation" / "prompt.py"
    renamed = EVALUATION.replace("perceive_image_post_prompt", "look_prompt")
    file.write_text(renamed, "utf-8")
    message = refused(checkout)
    assert (
        "perceive: there is no text constant PROMPT_TEMPLATES.p2r.perceive_image_post_prompt"
        in message
    )
    assert "PROMPT_TEMPLATES.p2r.look_prompt  (" in message and "holds bbox_2d" in message
    chosen = "perceive=PROMPT_TEMPLATES.p2r.perceive_pre_prompt+PROMPT_TEMPLATES.p2r.look_prompt"
    assert run("import", checkout, "--map", chosen).exit_code == 0
    assert (
        "Where to look?" in load_pack(Path("prompts/published-evaluation.toml").resolve()).perceive
    )


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ('"Asked: {question}\\n" + "Ponder.\\n"', 'f"Asked: {{question}}"'),
        ('"Asked: {question}\\n" + "Ponder.\\n"', '"Asked: {x}".format(x="{question}")'),
    ],
)
def test_text_that_would_have_to_be_executed_is_refused_with_its_line(
    checkout: Path, change: str, reason: str
) -> None:
    file = checkout / "evaluation" / "prompt.py"
    assert change in EVALUATION
    file.write_text(EVALUATION.replace(change, reason), "utf-8")
    message = refused(checkout)
    assert "prompt.py:5: reason_whole: PROMPT_TEMPLATES.p2r.pre_prompt cannot be read" in message
    assert "executed" in message


@pytest.mark.parametrize(
    "line",
    [
        'PROMPT_TEMPLATES["p2r"]["pre_prompt"] += "More."',
        'PROMPT_TEMPLATES["p2r"].update(pre_prompt="Other {question}")',
        "for PROMPT_TEMPLATES in ():\n    pass",
    ],
)
def test_text_that_is_changed_later_is_refused(checkout: Path, line: str) -> None:
    file = checkout / "evaluation" / "prompt.py"
    file.write_text(f"{EVALUATION}\n{line}\n", "utf-8")
    assert "PROMPT_TEMPLATES cannot be read: it is changed on line" in refused(checkout)


def test_different_endings_of_the_two_modes_are_refused(checkout: Path) -> None:
    file = checkout / "evaluation" / "prompt.py"
    file.write_text(EVALUATION.replace("Tagged na", "Other na", 1), "utf-8")
    assert "endings.number: PROMPT_TEMPLATES.thinking.na_post_prompt and" in refused(checkout)


def test_folder_that_is_no_checkout_is_refused_with_files_that_may_be_meant(tmp_path: Path) -> None:
    (tmp_path / "near.py").write_text('X = "bbox_2d"', "utf-8")
    result = run("import", tmp_path)
    assert result.exit_code == 2
    assert (
        "is not a checkout of the published repository" in result.output
        and "near.py" in result.output
    )


def test_file_that_is_not_python_is_refused_with_its_line(checkout: Path) -> None:
    (checkout / "evaluation" / "prompt.py").write_text("A = 1\nB = (\n", "utf-8")
    assert "prompt.py:2: not a Python file" in refused(checkout)


def test_unknown_part_of_the_map_is_refused(checkout: Path) -> None:
    assert "no such part" in refused(checkout, "--map", "perception=X")
    assert "write PART=CONSTANT" in refused(checkout, "--map", "perceive")


def test_existing_pack_is_not_overwritten_unless_told(checkout: Path) -> None:
    assert run("import", checkout).exit_code == 0
    assert run("import", checkout).exit_code == 0  # the same text again is no loss
    pack = Path("prompts/published-evaluation.toml")
    pack.write_text("edited = true", "utf-8")
    result = run("import", checkout)
    assert (
        result.exit_code == 2
        and "--force" in result.output
        and pack.read_text("utf-8") == "edited = true"
    )
    assert run("import", checkout, "--force").exit_code == 0
    assert "edited" not in pack.read_text("utf-8")


def test_list_and_show_builtin_packs() -> None:
    listed = json.loads(run("list", "--json").output)
    assert "p2r" in {
        profile for pack in listed if pack["name"] == "default" for profile in pack["profiles"]
    }
    shown = json.loads(run("show", "default", "--json").output)
    assert shown["perceive"] == load_pack("default").perceive
    assert "endings.choice" in run("show", "default").output
