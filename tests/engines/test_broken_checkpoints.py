"""Checkpoints that are damaged or whose weights do not all load are refused by name."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file, save_file

from p2r_bench.bundled import resolve_model
from p2r_bench.cli import main
from p2r_bench.engines.model_folder import model_folder
from p2r_bench.engines.transformers import TransformersEngine
from p2r_bench.errors import UserError
from p2r_bench.types import EngineConfig

WEIGHTS = "model.safetensors"
DOWN = "model.language_model.layers.0.mlp.down_proj.weight"
EMBEDDING = "model.language_model.embed_tokens.weight"
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:1234\nsize 7000000\n"

Tensors = dict[str, torch.Tensor]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the bundled checkpoint."""
    return Path(shutil.copytree(resolve_model("p2r-tiny"), tmp_path / "copy"))


def change_weights(folder: Path, change: Callable[[Tensors], object]) -> None:
    tensors = load_file(folder / WEIGHTS)
    change(tensors)
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})


def change_config(folder: Path, **values: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def start(folder: Path) -> None:
    async def work() -> None:
        engine = TransformersEngine(EngineConfig(str(folder), None, {"device": "cpu"}))
        try:
            await engine.start()
        finally:
            await engine.close()

    asyncio.run(work())


def rename(tensors: Tensors) -> None:
    tensors["model.language_model.layers.0.mlp.down.weight"] = tensors.pop(DOWN)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop(DOWN), rf"1 missing .*{DOWN}"),
        (lambda t: t.update({"model.extra.weight": torch.zeros(2)}), r"1 in the .*model\.extra"),
        (rename, r"1 missing .*down_proj[^\n]*\n  1 in the checkpoint .*mlp\.down\.weight"),
        (
            lambda t: t.update({"model.language_model.norm.weight": torch.zeros(100)}),
            r"norm\.weight \(\(100,\) instead of \(192,\)\)",
        ),
        (lambda t: t.pop(EMBEDDING), rf"2 missing .*lm_head\.weight, {EMBEDDING}"),
        (
            lambda t: t.update({"lm_head.weight": torch.ones(1664, 192)}),
            r"ties the output head .*tie_word_embeddings to false",
        ),
    ],
    ids=["missing", "unexpected", "renamed", "shape", "no embedding", "untied head"],
)
def test_a_checkpoint_whose_weights_do_not_all_load_is_refused_by_name(
    folder: Path, change: Callable[[Tensors], object], message: str
) -> None:
    change_weights(folder, change)
    with pytest.raises(UserError, match=r"(?s)copy.*" + message):
        start(folder)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_weights_that_are_no_numbers_are_refused_by_name(folder: Path, value: float) -> None:
    def spoil(tensors: Tensors) -> None:
        tensors[DOWN] = tensors[DOWN].clone()
        tensors[DOWN][3, 5] = value

    change_weights(folder, spoil)
    with pytest.raises(UserError, match=rf"1 weights in .* hold NaN or infinity: {DOWN}"):
        start(folder)


@pytest.mark.parametrize(
    ("layers", "message"),
    [(6, r"22 missing .*layers\.4\."), (3, r"11 in the checkpoint without .*layers\.3\.")],
)
def test_another_number_of_layers_than_the_configuration_s_is_refused(
    folder: Path, layers: int, message: str
) -> None:
    text = json.loads((folder / "config.json").read_text())["text_config"]
    change_config(folder, text_config={**text, "num_hidden_layers": layers})
    with pytest.raises(UserError, match=message):
        start(folder)


def drop_templates(folder: Path) -> None:
    (folder / "chat_template.jinja").unlink()
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text())
    config.pop("chat_template", None)
    path.write_text(json.dumps(config))


def write_template(text: str) -> Callable[[Path], object]:
    return lambda folder: (folder / "chat_template.jinja").write_text(text)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (drop_templates, r"no chat template \(chat_template\.jinja\)\. Copy it"),
        (write_template(""), "no chat template"),
        (write_template("{% for m in messages %}"), "cannot be used: TemplateSyntaxError"),
        (write_template("{{ raise_exception('only text') }}"), "cannot be used: .*only text"),
        (write_template("{{ messages[0].role }}"), "leaves out the text"),
        (write_template("{{ messages[0].content[-1].text }}"), "leaves out the image"),
    ],
    ids=["none", "empty", "broken", "raising", "without text", "without images"],
)
def test_a_chat_template_that_cannot_be_used_is_refused(
    folder: Path, damage: Callable[[Path], object], message: str
) -> None:
    damage(folder)
    with pytest.raises(UserError, match=message):
        start(folder)


def change_vocabulary(folder: Path, size: int) -> None:
    """Cut the embedding, or pad it with zeros as some publishers do."""
    text = json.loads((folder / "config.json").read_text())["text_config"]
    change_config(folder, text_config={**text, "vocab_size": size})

    def resize(tensors: Tensors) -> None:
        old = tensors[EMBEDDING]
        tensors[EMBEDDING] = torch.zeros(size, old.shape[1], dtype=old.dtype)
        tensors[EMBEDDING][: len(old)] = old[:size]

    change_weights(folder, resize)


def test_a_vocabulary_larger_than_the_tokenizer_s_loads(folder: Path) -> None:
    change_vocabulary(folder, 1728)
    start(folder)


def test_a_vocabulary_smaller_than_the_tokenizer_s_is_refused(folder: Path) -> None:
    change_vocabulary(folder, 1600)
    with pytest.raises(UserError, match=r"the weights in .* cannot be loaded"):
        start(folder)


def test_a_configuration_without_a_model_type_is_refused(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    del config["model_type"]
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="model_type"):
        start(folder)


def test_a_head_that_the_configuration_unties_must_be_there(folder: Path) -> None:
    change_config(folder, tie_word_embeddings=False)
    with pytest.raises(UserError, match=r"1 missing .*lm_head\.weight"):
        start(folder)


def test_tied_weights_stored_twice_and_ignorable_tensors_load(folder: Path) -> None:
    def store(tensors: Tensors) -> None:
        tensors["lm_head.weight"] = tensors[EMBEDDING].clone()
        tensors["model.language_model.rotary_emb.inv_freq"] = torch.zeros(16)

    change_weights(folder, store)
    start(folder)


def cut_weights(folder: Path) -> None:
    data = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(data[: len(data) // 2])


def leave_out_a_shard(folder: Path) -> None:
    (folder / WEIGHTS).rename(folder / "model-00001-of-00002.safetensors")
    shards = {DOWN: "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))


def list_an_absent_tensor(folder: Path) -> None:
    shards = {DOWN: WEIGHTS, "model.absent.weight": WEIGHTS}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (cut_weights, r"model\.safetensors: .* cut off .*again"),
        (lambda f: (f / WEIGHTS).write_bytes(b""), r"model\.safetensors: not a safetensors file"),
        (lambda f: (f / WEIGHTS).write_text(POINTER), r"model\.safetensors: a Git LFS pointer"),
        (lambda f: (f / "config.json").write_text(POINTER), r"config\.json: a Git LFS pointer"),
        (lambda f: (f / "config.json").write_text('{"a":'), r"config\.json: not valid JSON"),
        (lambda f: (f / "config.json").write_text("[]"), r"config\.json: not a JSON object"),
        (lambda f: (f / "tokenizer.json").write_text("{"), r"tokenizer\.json: not valid JSON"),
        (lambda f: (f / "generation_config.json").write_text("{"), r"generation_config\.json"),
        (leave_out_a_shard, r"1 of the 2 files .*model-00002-of-00002\.safetensors"),
        (list_an_absent_tensor, r"1 tensors .*model\.absent\.weight"),
    ],
    ids=[
        *("truncated", "empty", "pointer", "config pointer", "config cut", "config a list"),
        *("tokenizer cut", "generation config"),
        *("shard", "index"),
    ],
)
def test_a_damaged_folder_is_refused_before_it_loads(
    folder: Path, damage: Callable[[Path], object], message: str
) -> None:
    damage(folder)
    with pytest.raises(UserError, match=message):
        model_folder(str(folder))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("tokenizer.json", r"no tokenizer .*copy these files"),
        ("preprocessor_config.json", r"no image processor .*copy this file"),
    ],
)
def test_a_missing_tokenizer_or_processor_is_refused(folder: Path, name: str, message: str) -> None:
    (folder / name).unlink()
    with pytest.raises(UserError, match=message):
        start(folder)


@pytest.mark.parametrize("name", ["tokenizer.json", "preprocessor_config.json"])
def test_a_tokenizer_or_processor_that_cannot_be_made_is_no_traceback(
    folder: Path, name: str
) -> None:
    (folder / name).write_text("{}")
    with pytest.raises(UserError, match=rf"copy: .*Copy {name}"):
        start(folder)


def test_the_command_line_exits_with_2_and_makes_no_row(folder: Path, tmp_path: Path) -> None:
    change_weights(folder, lambda tensors: tensors.pop(DOWN))
    out = tmp_path / "results"
    args = ("run", "--tasks", "Synth-HR", "--task-arg", "rows=4", "--limit", "1", "--quiet")
    result = CliRunner().invoke(main, [*args, "--model", str(folder), "--out", str(out)])
    assert result.exit_code == 2, result.output
    assert DOWN in result.output
    assert not (out / "leaderboard.parquet").exists()
