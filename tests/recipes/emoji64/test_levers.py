"""Levers of the denoiser's training: captions, alignment, number of pictures, annealing, and the recipe for a GPU."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.recipes.emoji64.conftest import NAMES, Miniature
from tests.recipes.emoji64.test_stages import SHORT, state_of
from tests.training.killing import train_and_kill
from treg_exp.errors import ConfigError, FieldError
from treg_exp.noise import generator as keyed_generator
from treg_exp.priors.texts.clip import token_ids
from treg_exp.recipes.emoji64.alignment import alignment_head, disagreement
from treg_exp.recipes.emoji64.captions import caption_variants, names_style
from treg_exp.recipes.emoji64.corpus import CorpusFolder, pack
from treg_exp.recipes.emoji64.denoising import denoise
from treg_exp.recipes.emoji64.export import export, load_pipeline
from treg_exp.recipes.emoji64.networks import build_denoiser
from treg_exp.recipes.emoji64.prompttable import PromptTable, with_styled_share
from treg_exp.recipes.emoji64.samples import draw_samples
from treg_exp.recipes.emoji64.sources import Picture
from treg_exp.recipes.emoji64.trained import TrainedStages
from treg_exp.shipped import ASSETS

SHIPPED = ASSETS / "emoji64"
FRESH = Callable[..., Miniature]
APPLE = Picture("apple-noto", "red apple", ("fruit", "snack"), "noto", "food & drink", "food-fruit", "")
FLAT_SHOE = Picture("shoe-blob", "flat shoe", (), "blob", "objects", "clothing", "")
#: Every lever at once.
ALL = {
    "objective.styled_share": 0.9, "objective.alignment": 0.5, "objective.alignment_target": "spatial",
    "objective.versions": 2, "objective.embed_beforehand": True,
}  # fmt: skip


@pytest.fixture(scope="module")
def shipped(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Miniature:
    """The pictures of the miniature with the networks of the shipped prior; nothing is trained in its folder."""
    return Miniature(data_dir, tmp_path_factory.mktemp("shipped"), SHIPPED)


def share_of_styled(variants: dict[str, float]) -> float:
    return sum(weight for caption, weight in variants.items() if names_style(caption)) / sum(variants.values())


@pytest.mark.parametrize("share", [0.0, 0.85, 1.0])
def test_the_share_that_names_the_style_is_as_asked_for(share: float) -> None:
    for picture in (APPLE, FLAT_SHOE):
        before = caption_variants(picture)
        after = with_styled_share(before, share)
        assert share_of_styled(after) == pytest.approx(share)
        for kind in (True, False):  # proportions within a kind stay
            ratios = [after[c] / before[c] for c in before if names_style(c) == kind]
            assert ratios == pytest.approx([ratios[0]] * len(ratios))
    assert with_styled_share(caption_variants(APPLE), None) == caption_variants(APPLE)
    assert with_styled_share({"a shoe": 2.0}, share) == {"a shoe": 2.0}


def test_prompts_are_drawn_by_their_weights(shipped: Miniature) -> None:
    table, count = PromptTable([APPLE, FLAT_SHOE], shipped.stages.tokenizer(), 0.85), 40_000
    for index, picture in enumerate((APPLE, FLAT_SHOE)):
        drawn = table.draw(torch.full((count,), index), keyed_generator("prompts", index), dropout=0.1)
        shares = torch.bincount(drawn, minlength=len(table.prompts)) / count
        expected = with_styled_share(caption_variants(picture), 0.85)
        total = sum(expected.values())
        for prompt, share in zip(table.prompts, shares.tolist(), strict=True):
            wanted = 0.9 * expected.get(prompt, 0.0) / total if prompt else 0.1
            assert share == pytest.approx(wanted, abs=0.01), prompt


def test_embeddings_computed_beforehand_are_those_of_the_text_encoder(shipped: Miniature) -> None:
    objective = shipped.objective("unet")
    table, positions = objective.prompts, torch.tensor([0, 3, 5])
    expected = objective._encode(
        token_ids(objective.tokenizer, [table.prompts[i] for i in positions], torch.device("cpu"))
    )
    torch.testing.assert_close(table.embedded(positions, objective._encode), expected, atol=1e-6, rtol=0)
    table.embed_all(objective._encode)
    torch.testing.assert_close(table.embedded(positions, objective._encode), expected, atol=2e-3, rtol=2e-3)


def test_the_divided_forward_pass_is_that_of_diffusers() -> None:
    torch.manual_seed(0)
    network = build_denoiser((32, 32, 64))
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    given = torch.randn(2, 4, 16, 16), torch.tensor([3, 700]), torch.randn(2, 32, 128)
    output, middle = denoise(network, *given)
    assert torch.equal(output, network(*given).sample)
    assert middle.shape == (2, 64, 4, 4)
    seen = torch.compile(denoise, backend="eager", fullgraph=True)  # torch can follow it without a break
    torch.testing.assert_close(seen(network, *given)[0], output, atol=1e-5, rtol=0)


def test_disagreement_is_zero_for_the_same_direction_and_one_for_orthogonal_ones() -> None:
    here, there = torch.zeros(2, 3, 4, 4), torch.zeros(2, 3, 4, 4)
    here[:, 0], there[:, 1] = 2.0, 5.0
    assert disagreement(here, 3.0 * here).item() == pytest.approx(0.0)
    assert disagreement(here, there).item() == pytest.approx(1.0)
    assert disagreement(here, 3.0 * here[:, :, :1, :1]).item() == pytest.approx(0.0)


@pytest.mark.parametrize(
    ("target", "shape"), [("pooled", (128, 1, 1)), pytest.param("spatial", (192, 4, 4), marks=pytest.mark.slow)]
)
def test_alignment_adds_a_gradient_of_the_middle_and_is_learnt(
    shipped: Miniature, target: str, shape: tuple[int, ...]
) -> None:
    objective = shipped.objective("unet", **{"objective.alignment": 1.0, "objective.alignment_target": target})
    assert objective.features.shape == (6, len(objective.corpus.pictures), *shape)
    plain = objective.features[0].float()
    torch.testing.assert_close(plain.mean(dim=(0, 2, 3)), torch.zeros(shape[0]), atol=1e-2, rtol=0)
    batch = torch.tensor(objective.corpus.split.train[:8])
    optimizer = torch.optim.Adam(objective.network.parameters(), 2e-3)
    apart = []
    for _ in range(12):
        loss = objective.loss(batch, keyed_generator("the same batch"))
        optimizer.zero_grad()
        loss.backward()
        objective.alignment, kept = 0.0, objective.alignment
        apart.append((loss - objective.loss(batch, keyed_generator("the same batch"))).item())
        objective.alignment = kept
        optimizer.step()
    assert apart[0] == pytest.approx(1.0, abs=0.15)  # a random projection
    assert apart[-1] < apart[0] - 0.1
    assert objective.network.mid_block.resnets[0].conv1.weight.grad.abs().sum() > 0


def test_a_head_takes_what_the_middle_gives(shipped: Miniature) -> None:
    head = alignment_head(64, shipped.stages.towers().image_encoder, "spatial")
    assert head(torch.zeros(2, 64, 4, 4)).shape == (2, 192, 4, 4)


@pytest.mark.slow
def test_with_every_lever_a_kill_changes_nothing_and_the_export_has_no_head(fresh: FRESH) -> None:
    wishes = {**SHORT, **ALL, "budget.steps": None, "budget.pictures": 24, "sharing.workers": 2}
    unbroken, killed = (fresh(name, start_from=SHIPPED) for name in ("unbroken", "killed"))
    unbroken.train("unet", **wishes)
    train_and_kill(lambda: killed.train("unet", **wishes), saved_at=3, killed_at=5)
    killed.train("unet", **wishes)
    expected, found = (state_of(miniature, "unet") for miniature in (unbroken, killed))
    assert found["global_step"] == 6
    assert any(name.startswith("network.alignment.") for name in found["state_dict"])
    for name, value in found["state_dict"].items():
        torch.testing.assert_close(value, expected["state_dict"][name], atol=1e-6, rtol=0, msg=name)
    exported = killed.stages.denoiser()
    assert not any(name.startswith("alignment.") for name in exported.state_dict())
    assert torch.equal(exported.conv_in.weight, found["state_dict"]["network.conv_in.weight"])
    other = fresh("other", start_from=SHIPPED).objective(
        "unet", **{"objective.weights": str(killed.stages.folder("unet").checkpoint)}
    )
    assert torch.equal(other.network.conv_in.weight, exported.conv_in.weight)


@pytest.mark.slow
def test_annealing_stands_beside_the_long_training(fresh: FRESH, tmp_path: Path) -> None:
    miniature = fresh(start_from=SHIPPED)
    short: dict[str, Any] = {"budget.steps": None, "budget.pictures": 16, "data.batch_size": 4}
    miniature.train("unet_long", **short)
    long = state_of(miniature, "unet")
    assert long["optimizer_states"][0]["param_groups"][0]["lr"] == pytest.approx(0.02 * 4 / 40, rel=0.3)  # warming up
    miniature.train("unet_anneal", **short)
    assert state_of(miniature, "unet")["global_step"] == long["global_step"] == 4
    annealed = state_of(miniature, "unet_anneal")
    assert annealed["optimizer_states"][0]["param_groups"][0]["lr"] == 0.0
    stages = TrainedStages(miniature.out, SHIPPED, denoiser_in="unet_anneal")
    assert torch.equal(stages.denoiser().conv_in.weight, annealed["state_dict"]["network.conv_in.weight"])
    folder = export(miniature.corpus, stages, tmp_path / "out" / "prior", figures=False)
    kept = load_pipeline(folder).unet.conv_in.weight
    assert torch.equal(kept, annealed["state_dict"]["network.conv_in.weight"].half().float())


@pytest.mark.slow
def test_the_recipe_for_a_gpu_from_one_file_to_a_prior_in_parts(shipped: Miniature, tmp_path: Path) -> None:
    file = pack(shipped.corpus, tmp_path / "drawings.npz")
    carried = Miniature(file, tmp_path / "gpu", SHIPPED)
    assert torch.equal(carried.corpus.images, shipped.corpus.images)
    assert carried.corpus.pictures == shipped.corpus.pictures
    assert carried.corpus.split == shipped.corpus.split
    wishes = {"objective.compile": False, **SHORT, "budget.steps": 3, "trainer.precision": "bf16"}
    carried.train("unet_gpu", **wishes)
    assert carried.stages.folder("unet").figures()[-1]["step"] == 3
    carried.train("unet_gpu", **{**wishes, "budget.steps": 5})
    assert state_of(carried, "unet")["global_step"] == 5
    folder = export(carried.corpus, carried.stages, tmp_path / "out" / "prior", figures=False, shard_mb=15)
    sizes = [part.stat().st_size for part in folder.rglob("*.safetensors")]
    assert max(sizes) < 16e6
    assert len(list((folder / "unet").glob("*.safetensors"))) > 1
    drawn = draw_samples(load_pipeline(folder), [f"{NAMES[0]}, noto style"], steps=2)
    whole = export(carried.corpus, carried.stages, tmp_path / "whole" / "prior", figures=False)
    assert torch.equal(drawn, draw_samples(load_pipeline(whole), [f"{NAMES[0]}, noto style"], steps=2))


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    import numpy as np

    np.savez(tmp_path / "other.npz", images=np.zeros((1, 64, 64, 3), np.uint8))
    with pytest.raises(FieldError, match="not written by pack"):
        CorpusFolder(tmp_path / "other.npz", 1, 1).load()
    with pytest.raises(FieldError, match=r"must end in \.npz"):
        pack(None, tmp_path / "drawings.zip")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"objective.styled_share": 1.5}, "recipe.objective.styled_share=1.5: must be >= 0 and <= 1"),
        ({"objective.alignment": -1.0}, "recipe.objective.alignment=-1.0: must be >= 0"),
        ({"objective.alignment_target": "judge"}, "recipe.objective.alignment_target=judge: allowed are pooled"),
        ({"objective.versions": 0}, "recipe.objective.versions=0: must be >= 1"),
    ],
)
def test_levers_that_cannot_work_are_refused(shipped: Miniature, values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        shipped.objective("unet", **values)
    assert str(caught.value).startswith(message)


@pytest.mark.slow
def test_a_compiled_network_trains_to_the_same_weights(fresh: FRESH) -> None:
    """Minutes: torch writes and compiles C++ for the forward and the backward pass."""
    plain, compiled = (fresh(name, start_from=SHIPPED) for name in ("plain", "compiled"))
    for miniature, wish in ((plain, False), (compiled, True)):
        miniature.train("unet", **SHORT, **{"objective.compile": wish, "objective.versions": 1})
    expected, found = (state_of(miniature, "unet")["state_dict"] for miniature in (plain, compiled))
    # Weight by weight they may differ: Muon gives the directions of a gradient that is nearly 0 their full length.
    apart, size = (torch.cat([t.flatten() for t in tensors]).norm() for tensors in (
        [found[name] - expected[name] for name in found], list(expected.values())
    ))  # fmt: skip
    assert apart / size < 1e-4, "the training itself moves them by 8e-4"
