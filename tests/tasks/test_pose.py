"""Tasks of ``conf/task`` pose their problems: targets, real measurements, or neither."""

from __future__ import annotations

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

from tests.operators.tasks import NAMES, PATHS, load_task, smallest_shape
from treg_exp.data.sample import Sample
from treg_exp.errors import FieldError
from treg_exp.tasks.problems import EditProblem, InverseProblem

CPU = torch.device("cpu")
IDS = ("one", "two")


def pose(name: str, **given: torch.Tensor) -> InverseProblem:
    """The problem of two samples that have ``target=`` or ``measurement=`` (2, ...)."""
    samples = [Sample(sample_id, **{k: v[i] for k, v in given.items()}) for i, sample_id in enumerate(IDS)]
    return load_task(name).pose(samples, smallest_shape(name), CPU)


@pytest.mark.parametrize("name", NAMES)
def test_signals_are_measured_and_real_measurements_taken(name: str) -> None:
    shape = load_task(name).build(smallest_shape(name), IDS).signal_shape
    signals = torch.rand(2, *shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
    made = pose(name, target=signals)
    real = pose(name, measurement=made.y)
    assert torch.equal(real.y, made.y)
    for problem in (made, real):
        assert problem.batch_size == 2
        assert problem.y.shape == (2, *problem.operator.measurement_shape)
        assert problem.empty_signal().shape == signals.shape
        assert problem.lam == made.lam >= 0


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 256)], ids=str)
def test_generation_measures_nothing_of_any_signal(shape: tuple[int, ...]) -> None:
    problem = load_task("generation").pose([Sample("a", torch.zeros(shape))], shape, CPU)
    assert problem.signal_shape == shape
    assert problem.y.shape == (1, 0)
    assert problem.lam == 0


def test_without_a_target_there_is_nothing_to_measure() -> None:
    without = [Sample("a")]
    assert load_task("generation").pose(without, (3, 32, 32), CPU).y.shape == (1, 0)
    with pytest.raises(FieldError, match=r"^samples=a: denoising needs a target to measure"):
        load_task("denoising").pose(without, (3, 32, 32), CPU)


def test_a_separation_has_a_signal_of_several_sources() -> None:
    task = load_task("audio/separation", operator__sources=3)
    targets = torch.rand(3, 1, 256, generator=torch.Generator().manual_seed(0)) - 0.5
    problem = task.pose([Sample("a", targets)], (1, 256), CPU)
    assert problem.signal_shape == (3, 1, 256)
    assert float((problem.y - targets.sum(0)).std()) == pytest.approx(0.01, rel=0.2)
    with pytest.raises(FieldError, match=r"^x=\(1, 1, 256\): does not fit SourceSum, which needs \(B, 3, 1, 256\)"):
        task.pose([Sample("a", targets[0])], (1, 256), CPU)


def test_what_an_operator_refuses_is_named_below_the_operator() -> None:
    for shape, name, message in (
        ((1, 256), "sr_x8", r"operator\.signal_shape=\(1, 256\): must be \(3, H, W\)"),
        ((3, 36, 36), "sr_x8", r"operator\.factor=8: must divide both sides"),
        ((3, 33, 33), "blurred_sr_jpeg", r"operator\.first\.second\.factor=2: must divide both sides"),
    ):
        with pytest.raises(FieldError, match=f"^{message}"):
            load_task(name).pose([Sample("a")], shape, CPU)


def test_an_edit_takes_the_targets_as_they_are() -> None:
    task, targets = instantiate(OmegaConf.load(PATHS["edit"])), torch.rand(2, 3, 8, 6)
    problem = task.pose([Sample(name, target) for name, target in zip(IDS, targets, strict=True)], (3, 8, 6), CPU)
    assert isinstance(problem, EditProblem)
    assert torch.equal(problem.source, targets)
    assert task.title == "edit"
    with pytest.raises(FieldError, match="edits signals that are given whole"):
        task.pose([Sample("a", measurement=targets[0])], (3, 8, 6), CPU)


def test_a_mask_is_part_of_an_edit() -> None:
    source, masks = torch.rand(2, 3, 8, 6), torch.stack([torch.zeros(1, 8, 6), torch.ones(1, 8, 6)])
    plain, masked = EditProblem(source), EditProblem(source, masks)
    names = [problem.fingerprint(i) for problem in (plain, masked) for i in range(2)]
    assert len(set(names)) == 4
    assert EditProblem(source, masks[:1]).fingerprint(0) == masked.fingerprint(0)
    assert [masked.of_sample(i).fingerprint(0) for i in range(2)] == names[2:]
