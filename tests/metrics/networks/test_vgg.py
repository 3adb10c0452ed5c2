"""LPIPS with VGG-16 and DISTS equal torchmetrics with the same weights; weights are checked before they are loaded."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from tests.metrics.test_metrics import batch
from treg_exp.errors import FieldError, FileError
from treg_exp.metrics.networks import weights as reading
from treg_exp.metrics.networks.vgg import VGG16
from treg_exp.metrics.perceptual import DISTS, LPIPSVGG, OfVGG
from treg_exp.noise import generator

KINDS = {"lpips_vgg": LPIPSVGG, "dists": DISTS}


@pytest.fixture(scope="module")
def vgg() -> torch.nn.Module:
    """As torchvision builds it, with random weights."""
    from torchvision.models import vgg16

    torch.manual_seed(0)
    network = vgg16(weights=None).eval()
    network.classifier = torch.nn.Identity()  # half a gigabyte that nothing reads
    return network


@pytest.fixture(scope="module")
def file(vgg: torch.nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a tensor more, as every published file has."""
    place = tmp_path_factory.mktemp("vgg") / "model.safetensors"
    save_file({**vgg.state_dict(), "classifier.0.bias": torch.zeros(3)}, place)
    return place


@pytest.fixture(scope="module")
def pairs() -> tuple[Tensor, Tensor]:
    x = torch.rand(3, 3, 64, 48, generator=generator("vgg")) * 2 - 1
    return x, (x.roll(1, 0) * torch.tensor([0.3, 0.6, 0.9])[:, None, None, None]).clamp(-1, 1)


def lpips_of_torchmetrics(vgg: torch.nn.Module, x: Tensor, y: Tensor) -> Tensor:
    from torchmetrics.functional.image import lpips as reference

    network = reference._LPIPS(pretrained=False, net="vgg", pnet_rand=True)
    heads = torch.load(Path(reference.__file__).parent / "lpips_models/vgg.pth", map_location="cpu", weights_only=True)
    network.load_state_dict(heads, strict=False)
    slices = [network.net.slice1, network.net.slice2, network.net.slice3, network.net.slice4, network.net.slice5]
    theirs = [m for part in slices for m in part if isinstance(m, torch.nn.Conv2d)]
    ours = [m for m in vgg.features if isinstance(m, torch.nn.Conv2d)]
    for convolution, source in zip(theirs, ours, strict=True):
        convolution.load_state_dict(source.state_dict())
    return network.eval()(x, y).flatten()


def dists_of_torchmetrics(vgg: torch.nn.Module, x: Tensor, y: Tensor) -> Tensor:
    from torchmetrics.functional.image import dists as reference

    channels = reading.read_torch(Path(reference.__file__).parent / "dists_models/weights.pt")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reference, "vgg16", lambda weights: vgg)  # it would download them
        patch.setattr(torch, "load", lambda file: channels)  # it was saved on a GPU
        network = reference.DISTSNetwork()
    return network((x + 1) / 2, (y + 1) / 2)


@pytest.mark.parametrize("name", KINDS)
def test_equals_torchmetrics(name: str, vgg: torch.nn.Module, file: Path, pairs: tuple[Tensor, Tensor]) -> None:
    metric = KINDS[name](file)
    expected = (lpips_of_torchmetrics if name == "lpips_vgg" else dists_of_torchmetrics)(vgg, *pairs)
    own = metric.compare(*pairs)
    assert own is not None
    torch.testing.assert_close(own, expected.detach(), atol=2e-6, rtol=1e-4)
    assert own.min() > 0.001
    equal = metric.compare(pairs[0], pairs[0])
    assert equal.abs().max() < 1e-5
    alone = [float(metric.compare(pairs[0][i : i + 1], pairs[1][i : i + 1])) for i in range(3)]
    assert own.tolist() == pytest.approx(alone, abs=1e-6), "whatever the batch"


@pytest.mark.parametrize("name", KINDS)
def test_what_it_cannot_judge_and_what_it_is_called(name: str, file: Path) -> None:
    metric = KINDS[name](file)
    assert list(metric.columns) == [name]
    assert metric(batch(2, target=None)) == {name: [None, None]}
    small = torch.zeros(2, 3, 15, 40)
    assert metric.compare(small, small) is None
    assert next(iter(metric.weight_files())).name == "model.safetensors"
    with pytest.raises(FieldError, match="signals in"):
        metric.compare(small * 0 + 2, small)


def test_a_file_of_torch_is_read_as_tensors_only(vgg: torch.nn.Module, tmp_path: Path) -> None:
    torch.save(vgg.state_dict(), tmp_path / "vgg16-397923af.pth")
    network = VGG16()
    with torch.device("meta"):
        found = reading.check_weights(tmp_path / "vgg16-397923af.pth", VGG16(), "VGG-16", "")
    reading.fill(network, found)
    torch.testing.assert_close(network.features["28"].weight, vgg.features[28].weight)
    for bad in ({"features.0.weight": print}, [1, 2]):
        (tmp_path / "bad.pth").write_bytes(pickle.dumps(bad))
        with pytest.raises(FileError, match=r"cannot be read as tensors|holds something else"):
            reading.read_torch(tmp_path / "bad.pth")


def test_missing_and_wrong_files_are_named_before_anything_is_loaded(tmp_path: Path, file: Path) -> None:
    for given in (None, tmp_path / "none.safetensors", tmp_path, __file__):
        with pytest.raises(FieldError, match=r"^weights=.*VGG-16, which do not ship: model\.safetensors of timm/vgg16"):
            OfVGG.__init__(object.__new__(DISTS), given)
    save_file({"features.0.weight": torch.zeros(64, 3, 3, 3)}, tmp_path / "other.safetensors")
    with pytest.raises(FileError, match=r"not the weights of VGG-16: 25 tensors missing"):
        DISTS(tmp_path / "other.safetensors")
    (tmp_path / "torn.safetensors").write_bytes(file.read_bytes()[:5000])
    with pytest.raises(FileError, match=r"truncated|broken"):
        DISTS(tmp_path / "torn.safetensors")
