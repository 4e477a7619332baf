"""Location of models, and changes of their digest."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from p2r_bench import bundled
from p2r_bench.bundled import model_profile, resolve_model
from p2r_bench.engines import model_folder as module
from p2r_bench.engines.model_folder import model_digest, model_folder
from p2r_bench.errors import UserError


@pytest.fixture
def folder(tiny_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_folder, tmp_path / "copy"))


def change_one_weight(folder: Path) -> None:
    path = folder / "model.safetensors"
    tensors = load_file(path)
    name = sorted(tensors)[-1]
    tensors[name].view(-1)[tensors[name].numel() // 2] += 1
    save_file(tensors, path, metadata={"format": "pt"})


def test_a_copy_has_the_same_digest(folder: Path, tiny_folder: Path) -> None:
    (folder / "README.md").write_text("not part of the model")
    assert model_digest(folder) == model_digest(tiny_folder)


@pytest.mark.parametrize("whole", [True, False])
def test_one_changed_weight_changes_the_digest(
    folder: Path, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch, whole: bool
) -> None:
    if not whole:
        monkeypatch.setattr(module, "WHOLE_FILE_BYTES", 100)
    change_one_weight(folder)
    assert model_digest(folder) != model_digest(tiny_folder)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "chat_template.jinja"])
def test_a_changed_text_file_changes_the_digest(folder: Path, tiny_folder: Path, name: str) -> None:
    with (folder / name).open("a") as stream:
        stream.write(" ")
    assert model_digest(folder) != model_digest(tiny_folder)


def test_the_profile_a_folder_names_is_no_part_of_the_model(
    folder: Path, tiny_folder: Path
) -> None:
    (folder / "p2r_bench.json").write_text('{"profile": "tiny"}')
    assert model_digest(folder) == model_digest(tiny_folder)


def test_a_large_file_is_sampled_in_every_tensor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WHOLE_FILE_BYTES", 100)
    digests = set()
    for changed in (None, "a", "b"):
        tensors = {"a": torch.zeros(50_000), "b": torch.zeros(50_000)}
        if changed:
            tensors[changed] += 1
        save_file(tensors, tmp_path / "model.safetensors")
        digests.add(model_digest(tmp_path))
    assert len(digests) == 3


def test_a_damaged_large_file_is_a_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WHOLE_FILE_BYTES", 4)
    (tmp_path / "model.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{not json}")
    with pytest.raises(UserError, match=r"model\.safetensors: not a safetensors file"):
        model_digest(tmp_path)


@pytest.mark.parametrize("name", ["./missing", "/missing/folder", "just-a-name", "a/b/c"])
def test_a_name_that_is_no_folder_and_no_hub_id_is_refused(name: str) -> None:
    with pytest.raises(UserError, match="neither a folder nor a hub id"):
        model_folder(name)


def test_a_hub_id_without_a_network_says_how_to_get_it() -> None:
    with pytest.raises(UserError, match="hf download nobody/nothing"):
        model_folder("nobody/nothing")


def test_a_folder_without_weights_is_refused(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    with pytest.raises(UserError, match="safetensors"):
        model_folder(str(folder))
    (folder / "config.json").unlink()
    with pytest.raises(UserError, match=r"config\.json"):
        model_folder(str(folder))


def test_a_revision_of_a_local_folder_is_refused(folder: Path) -> None:
    with pytest.raises(UserError, match="only hub ids have revisions"):
        model_folder(str(folder), "main")


def test_other_names_resolve_to_themselves() -> None:
    assert resolve_model("Qwen/Qwen3-VL-4B-Instruct") == "Qwen/Qwen3-VL-4B-Instruct"


def test_a_bundled_name_resolves_to_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundled, "__file__", str(tmp_path / "__init__.py"))
    with pytest.raises(UserError, match="'p2r-tiny' is missing"):
        resolve_model("p2r-tiny")
    (tmp_path / "p2r-tiny").mkdir()
    (tmp_path / "p2r-tiny" / "config.json").write_text("{}")
    assert resolve_model("p2r-tiny") == str(tmp_path / "p2r-tiny")


def test_a_folder_names_its_profile(folder: Path) -> None:
    assert model_profile(folder) is None
    assert model_profile("some/hub-id") is None
    (folder / "p2r_bench.json").write_text('{"profile": "tiny"}')
    assert model_profile(folder) == "tiny"


def test_a_folder_names_a_profile_inside_it(folder: Path) -> None:
    (folder / "mine.toml").write_text('extends = "tiny"')
    (folder / "p2r_bench.json").write_text('{"profile": "mine.toml"}')
    assert model_profile(folder) == str((folder / "mine.toml").resolve())


@pytest.mark.parametrize("name", ["../mine.toml", "/etc/passwd", "a\\u0000.toml", "link.toml"])
def test_a_folder_names_no_profile_outside_it(folder: Path, name: str) -> None:
    (folder.parent / "mine.toml").write_text('extends = "tiny"')
    (folder / "link.toml").symlink_to(folder.parent / "mine.toml")
    (folder / "p2r_bench.json").write_text(f'{{"profile": "{name}"}}')
    with pytest.raises(UserError, match=r"p2r_bench\.json"):
        model_profile(folder)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"profile": 3}', "null", "[" * 100_000])
def test_a_damaged_profile_file_is_a_clear_error(folder: Path, text: str) -> None:
    (folder / "p2r_bench.json").write_text(text)
    with pytest.raises(UserError, match=r"p2r_bench\.json"):
        model_profile(folder)
