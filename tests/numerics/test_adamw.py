from __future__ import annotations

import pytest
import torch
from torch import Tensor

from treg_exp.errors import FieldError
from treg_exp.numerics.adamw import AdamW
from treg_exp.numerics.leaf import leaf_gradient, norms, squares

GOAL = torch.linspace(-1, 2, 24).view(4, 6)


def loss(x: Tensor) -> Tensor:
    return squares(x.sin() - GOAL.sin()) * torch.tensor([1.0, 10.0, 0.1, 0.0])


@pytest.mark.parametrize("decay", [0.0, 0.01])
@pytest.mark.parametrize("lr_end", [None, 0.01])
def test_steps_are_those_of_torch(decay: float, lr_end: float | None) -> None:
    start = torch.zeros(4, 6)
    found = AdamW(0.05, 30, weight_decay=decay, lr_end=lr_end).minimise(loss, start)
    x = start.clone().requires_grad_()
    optimiser = torch.optim.AdamW([x], lr=0.05, weight_decay=decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, 30, 0.05 if lr_end is None else lr_end)
    for _ in range(30):
        optimiser.zero_grad()
        loss(x).sum().backward()
        optimiser.step()
        schedule.step()
    torch.testing.assert_close(found, x.detach(), rtol=0, atol=1e-6)
    assert torch.equal(start, torch.zeros(4, 6))


def test_every_sample_stops_for_itself() -> None:
    """One that fits at once makes a single step, whatever its neighbours need."""
    start = torch.stack([GOAL[0], torch.zeros(6), torch.zeros(6), torch.zeros(6)])
    counts = []
    optimiser = AdamW(0.05, 200, weight_decay=0.0)
    together = optimiser.minimise(loss, start, stop_below=0.05, after=lambda i, x: counts.append(i))
    assert counts[-1] < 199
    assert loss(together).max() < 0.06
    for i in range(4):
        alone = optimiser.minimise(
            lambda x, i=i: squares(x.sin() - GOAL[i].sin()) * [1, 10, 0.1, 0][i], start[i : i + 1], 0.05
        )
        torch.testing.assert_close(alone[0], together[i], rtol=0, atol=1e-6)


def test_its_own_stop_counts_more_than_the_callers() -> None:
    counts = []
    AdamW(0.05, 50, stop=1e9).minimise(loss, torch.zeros(4, 6), 1e-9, after=lambda i, x: counts.append(i))
    assert counts == [0]


def test_a_plateau_stops() -> None:
    """With a rate that overshoots the loss is soon above that of some iterations before."""
    counts = []
    steep = AdamW(3.0, 400, plateau=5)
    steep.minimise(lambda x: squares(x - 1), torch.zeros(1, 3), after=lambda i, x: counts.append(i))
    assert 5 <= counts[-1] < 399


@pytest.mark.parametrize(
    ("field", "value"), [("lr", -1.0), ("iterations", -1), ("eps", 0.0), ("betas", (1.0, 0.9)), ("plateau", 0),
                         ("lr_end", 5.0), ("stop", 0.0)],
)  # fmt: skip
def test_wrong_values_are_named(field: str, value: object) -> None:
    with pytest.raises(FieldError, match=f"{field}="):
        AdamW(**{"lr": 1.0, "iterations": 3, field: value})


def test_gradients_are_per_sample_and_norms_have_one_at_zero() -> None:
    at = torch.tensor([[3.0, 4.0], [0.0, 0.0]])
    gradient, values, kept = leaf_gradient(lambda x: (norms(x), "way"), at)
    assert torch.equal(gradient, torch.tensor([[0.6, 0.8], [0.0, 0.0]]))
    assert (values.tolist(), kept, at.requires_grad) == ([5.0, 0.0], "way", False)


def test_a_mean_keeps_its_gradient_in_half_precision() -> None:
    """ReSample: the mean over 512 px x4 would send 1.6e-8 to a half-precision decoder, which is 0 there."""

    def loss(z: Tensor) -> Tensor:
        x = z.half().float() * 0.02  # the way back goes through a half
        return x.square().sum(1) / 49152

    start = torch.ones(1, 4)
    assert torch.equal(AdamW(0.1, 1, weight_decay=0.0).minimise(loss, start), start)
    moved = AdamW(0.1, 1, weight_decay=0.0).minimise(loss, start, scale=49152)
    gradient = 2 * 0.02**2 / 49152
    torch.testing.assert_close(moved, start - 0.1 * gradient / (gradient + 1e-8), rtol=0, atol=1e-4)
