"""The training's shortcuts give what transformers gives."""

from __future__ import annotations

import json
import random
import sys
from importlib import resources
from pathlib import Path

import pytest
import torch

TOOLS = Path(__file__).parents[2] / "tools" / "train_tiny"


@pytest.fixture(scope="module", autouse=True)
def _tools_importable():  # type: ignore[no-untyped-def]
    sys.path.insert(0, str(TOOLS))
    yield
    sys.path.remove(str(TOOLS))


@pytest.fixture(scope="module")
def model():  # type: ignore[no-untyped-def]
    from model import build, config
    from tokenizer import SPECIAL, build_tokenizer

    tokenizer = build_tokenizer()
    ids = {token: tokenizer.token_to_id(token) for token in SPECIAL}
    return build(config(-(-tokenizer.get_vocab_size() // 64) * 64, ids), 0).eval()


def _flat_patches(pixels: torch.Tensor) -> torch.Tensor:
    """Patches as the image processor lays them out, both temporal halves equal."""
    from model import patches

    flat = patches(pixels).reshape(-1, 3, 1, 16, 16)
    return flat.expand(-1, 3, 2, 16, 16).reshape(-1, 1536)


def test_tokenizer_is_rebuilt_as_it_is_bundled() -> None:
    from tokenizer import build_tokenizer

    folder = resources.files("p2r_bench") / "bundled" / "p2r-tiny"
    bundled = json.loads((folder / "tokenizer.json").read_text("utf-8"))
    assert json.loads(build_tokenizer().to_str()) == bundled


@torch.no_grad()
def test_batched_vision_equals_transformers(model) -> None:  # type: ignore[no-untyped-def]
    from model import see

    pixels = torch.randint(0, 256, (2, 128, 224, 3), generator=torch.Generator().manual_seed(0))
    pixels = pixels.to(torch.uint8)
    merged, deep = see(model.model.visual, pixels)
    out = model.model.visual(_flat_patches(pixels), torch.tensor([[1, 8, 14]] * 2))
    torch.testing.assert_close(merged.flatten(0, 1), out.pooler_output, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(deep.flatten(0, 1), out.deepstack_features[0], atol=1e-4, rtol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("kind", ["perceive", "reason", "think_crop", "text"])
def test_batched_language_model_equals_transformers(model, kind: str) -> None:  # type: ignore[no-untyped-def]
    from dialogue import Speaker
    from episodes import make_episode
    from model import see
    from speech import Seen, collate, hidden_at
    from teacher import Teacher, images_of
    from tokenizer import build_tokenizer

    from p2r_bench.adapter import TwoStage, load_profile

    two = TwoStage(load_profile("tiny"))
    episode = make_episode(two, "of a test")
    images = {(0, 0, name): torch.tensor(px)[None] for name, px in images_of(episode).items()}
    store = {}
    for key, pixels in images.items():
        merged, deep = see(model.model.visual, pixels)
        store[key] = Seen(merged[0], deep[0], pixels.shape[1] // 32, pixels.shape[2] // 32)
    teacher = Teacher(Speaker(build_tokenizer(), two), [[episode]])
    rng = random.Random(0)
    examples = [teacher.draw(rng, kind) for _ in range(2)]
    batch = collate(examples, store, teacher.speaker.pad, 0)
    ours, _ = hidden_at(model.model.language_model, batch, batch.merged, batch.deep)
    for k, example in enumerate(examples):
        ids = torch.tensor([example.ids])
        shown = [images[key] for key in example.images]
        grids = torch.tensor([[1, p.shape[1] // 16, p.shape[2] // 16] for p in shown])
        seen = (
            {
                "pixel_values": torch.cat([_flat_patches(p) for p in shown]),
                "image_grid_thw": grids,
            }
            if shown
            else {}
        )
        theirs = model.model(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            mm_token_type_ids=(ids == teacher.speaker.pad).int(),
            **seen,
        ).last_hidden_state[0]
        at = [i - 1 for i, weight in enumerate(example.weights) if weight > 0]
        torch.testing.assert_close(ours[batch.example == k], theirs[at], atol=1e-4, rtol=1e-4)
