"""Image towers of either architecture give unit features of the text's width; another one is refused by name."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from tests.priors.sampling import load
from treg_exp.errors import FieldError
from treg_exp.priors.checked_json import Section
from treg_exp.priors.diffusers_folder import DiffusersFolder
from treg_exp.priors.image_text.folder_clip import feature_width
from treg_exp.priors.named import prior_path

FILE = Path("image_encoder/config.json")


@pytest.mark.parametrize("name", ["emoji64", "tiny_random"])
def test_features_are_unit_vectors_as_wide_as_the_configuration_says(name: str) -> None:
    prior = load(name)
    clip = prior.image_text
    assert clip is not None
    x = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    features = torch.cat([clip.image_features(x), clip.text_features(["red apple", "tiger"])])
    assert features.shape == (4, prior.info.feature_width) == (4, clip.width)
    torch.testing.assert_close(features.norm(dim=1), torch.ones(4), atol=1e-5, rtol=0)


def test_an_image_feature_is_differentiable() -> None:
    clip = load("emoji64").image_text
    assert clip is not None
    x = torch.zeros(1, 3, 64, 64, requires_grad=True)
    clip.image_features(x)[0, 0].backward()
    assert x.grad is not None
    assert x.grad.abs().sum() > 0


def test_another_architecture_is_refused_before_anything_is_loaded(tmp_path: Path) -> None:
    folder = shutil.copytree(prior_path("tiny_random"), tmp_path / "prior")
    file = folder / "image_encoder" / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "architectures": ["ViTModel"]}))
    spec = DiffusersFolder(path=str(folder))
    for use in (spec.check, spec.load):
        with pytest.raises(FieldError, match="ViTModel: allowed are CLIPVisionModelWithProjection, ConvNextModel"):
            use()


def test_width_is_a_number_or_the_last_of_several() -> None:
    assert feature_width("CLIPVisionModelWithProjection", Section({"projection_dim": 32}, FILE)) == 32
    assert feature_width("ConvNextModel", Section({"hidden_sizes": [48, 96, 24]}, FILE)) == 24
