"""LPIPS equals the implementation of torchmetrics and behaves like a distance."""

from __future__ import annotations

import pickle
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from treg_exp.metrics.networks.lpips import LPIPS, load_lpips
from treg_exp.noise import generator
from treg_exp.recipes.emoji64.lpips_weights import converted, read_arrays


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return torch.rand(4, 3, 64, 64, generator=generator("lpips")) * 2 - 1


def test_weights_are_those_of_torchvision() -> None:
    row = load_lpips().convolutions[0].weight[0, 0, 0, :5]
    torch.testing.assert_close(row, torch.tensor([0.11864, 0.09407, 0.09544, 0.10515, 0.10291]), atol=5e-5, rtol=0)


@pytest.mark.parametrize("size", [(64, 64), (31, 47)])
def test_equals_torchmetrics(images: torch.Tensor, size: tuple[int, int]) -> None:
    from torchmetrics.functional.image import lpips as reference

    network = reference._LPIPS(pretrained=False, net="alex", pnet_rand=True)
    file = Path(reference.__file__).parent / "lpips_models" / "alex.pth"
    heads = torch.load(file, map_location="cpu", weights_only=True)
    network.load_state_dict(heads, strict=False)
    own = load_lpips()
    slices = [network.net.slice1, network.net.slice2, network.net.slice3, network.net.slice4, network.net.slice5]
    theirs = [m for part in slices for m in part if isinstance(m, torch.nn.Conv2d)]
    for convolution, source in zip(theirs, own.convolutions, strict=True):
        convolution.load_state_dict(source.state_dict())
    x = images[..., : size[0], : size[1]]
    y = x.roll(1, 0) * 0.8
    with torch.no_grad():
        expected = network.eval()(x, y).flatten()
    torch.testing.assert_close(own(x, y), expected, atol=0, rtol=1e-3)  # heads in half precision


def test_is_zero_for_equal_images_and_grows_with_noise(images: torch.Tensor) -> None:
    own, noise = load_lpips(), torch.randn(images.shape, generator=generator("more"))
    distances = [own(images, images + level * noise).mean() for level in (0.0, 0.05, 0.2, 0.5)]
    assert distances[0] == 0
    assert all(a < b for a, b in pairwise(distances))


def test_a_value_does_not_depend_on_the_batch(images: torch.Tensor) -> None:
    own, other = load_lpips(), images.flip(0)
    alone = torch.cat([own(images[i : i + 1], other[i : i + 1]) for i in range(len(images))])
    torch.testing.assert_close(own(images, other), alone, atol=1e-6, rtol=1e-5)


def test_conversion_takes_kernels_apart_and_nothing_but_arrays() -> None:
    shapes = {f"Conv_{i}": c.weight.shape for i, c in enumerate(LPIPS().convolutions)}
    rng = np.random.default_rng(0)
    arrays = {
        "AlexNet_0": {
            name: {"kernel": rng.normal(size=(h, w, i, o)).astype("float32"), "bias": np.zeros(o, "float32")}
            for name, (o, i, h, w) in shapes.items()
        },
        **{
            f"NetLinLayer_{i}": {"Conv_0": {"kernel": np.ones((1, 1, shape[0], 1), "float32")}}
            for i, shape in enumerate(shapes.values())
        },
    }
    state = converted(read_arrays(pickle.dumps(arrays)))
    LPIPS().load_state_dict(state)
    kernel = arrays["AlexNet_0"]["Conv_1"]["kernel"]
    assert state["convolutions.1.weight"][5, 7, 2, 3].item() == pytest.approx(kernel[2, 3, 7, 5], rel=1e-3)
    with pytest.raises(pickle.UnpicklingError, match=r"os\.system"):
        read_arrays(b"cos\nsystem\n(S'true'\ntR.")
