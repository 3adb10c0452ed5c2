"""``treg-exp bench operators``: our operators beside deepinv's, in one process, on the CPU.

Both of a pair are given the same image, and a row says so where they do not give the same A x. Times are those of the
fastest call, which a busy machine disturbs least; memory is the peak of what torch allocates during one call.
"""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from treg_exp.operators.linear.average import AveragePooling
from treg_exp.operators.linear.base import LinearOperator
from treg_exp.operators.linear.bicubic import BicubicDownsampling
from treg_exp.operators.linear.blur import GaussianBlur
from treg_exp.operators.linear.colour import Greyscale
from treg_exp.operators.linear.kernel_blur import KernelBlur
from treg_exp.operators.linear.masking import RandomInpainting

LAMBDA = 0.01  # of every proximal step
LEAST_SECONDS = 0.05  # of timing, so that calls of microseconds are repeated often enough
CG_ITERATIONS = 20  # deepinv's limit for prox_l2 where it has no closed form; its own default is 50 or more


@dataclass(frozen=True)
class Pair:
    """One of our operators and the deepinv physics of the same map."""

    name: str
    ours: LinearOperator
    theirs: Any


def print_table(shapes: Sequence[str], only: Sequence[str] | None, repeats: int, threads: int) -> int:
    """Time every pair and print a row per call.

    Args:
        shapes: ``BATCHxSIDE`` of the images, as ``1x512``.
        only: words of the names to time; None for all.
        repeats: timed calls, of which the fastest counts.
        threads: threads of torch.

    Returns:
        Exit status 0.

    Raises:
        ValueError: a shape that cannot be read.
    """
    sizes = [_shape(text) for text in shapes]
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # the profiler announces itself on every call otherwise
    torch.set_num_threads(threads)
    print(f"torch {torch.__version__}, {threads} thread(s), fastest of {repeats} calls; ms and MiB")
    print(f"{'operator':<22}{'shape':>12}  {'call':<8}{'ours':>9}{'deepinv':>10}{'ratio':>8}{'MiB':>8}{'deepinv':>9}")
    for batch, side in sizes:
        for pair in pairs(side, only):
            for row in measure(pair, batch, repeats):
                print(row, flush=True)
    return 0


def _shape(text: str) -> tuple[int, int]:
    parts = text.split("x")
    if len(parts) != 2 or not all(part.isdigit() and int(part) > 0 for part in parts):
        raise ValueError(f"--shapes {text}: must be BATCHxSIDE, as 1x512")
    return int(parts[0]), int(parts[1])


def pairs(side: int, only: Sequence[str] | None = None) -> Iterator[Pair]:
    """The pairs for square images; kernels shrink with small images."""
    from deepinv import physics

    shape = (3, side, side)
    taps = min(61, side // 2 * 2 - 1)
    gaussian = GaussianBlur(3.0, taps, shape, "zero")
    circular, reflect = (KernelBlur(_kernel(taps), shape, boundary) for boundary in ("circular", "reflect"))
    mask = RandomInpainting(0.3, shape, ["bench"])
    kernel = _kernel(taps)
    makers: dict[str, Callable[[], tuple[LinearOperator, Any]]] = {
        "bicubic x4": lambda: (BicubicDownsampling(4, shape), physics.DownsamplingMatlab(factor=4)),
        "bicubic x16": lambda: (BicubicDownsampling(16, shape), physics.DownsamplingMatlab(factor=16)),
        "average x4": lambda: (AveragePooling(4, shape), _mean_blocks(shape, 4)),
        f"gaussian {taps} zero": lambda: (gaussian, physics.Blur(filter=kernel, padding="constant", use_fft=True)),
        f"kernel {taps} circular": lambda: (circular, physics.BlurFFT(img_size=shape, filter=kernel)),
        f"kernel {taps} reflect": lambda: (reflect, physics.Blur(filter=kernel, padding="reflect", use_fft=True)),
        "mask": lambda: (mask, physics.Inpainting(img_size=shape, mask=mask.mask[0].expand(3, -1, -1))),
        "grey luma": lambda: (Greyscale("luma", shape), physics.Decolorize()),
    }
    for name, make in makers.items():
        if only is None or any(word in name for word in only):
            yield Pair(name, *make())


def _kernel(taps: int) -> Tensor:
    from treg_exp.operators.linear.blur import gaussian_kernel

    line = gaussian_kernel(3.0, taps).float()
    return (line[:, None] * line)[None, None]


def _mean_blocks(shape: tuple[int, int, int], factor: int) -> Any:
    from deepinv.physics import Downsampling

    kernel = torch.full((1, 1, factor, factor), 1 / factor**2)
    return Downsampling(img_size=shape, filter=kernel, factor=factor, padding="valid")


def measure(pair: Pair, batch: int, repeats: int) -> Iterator[str]:
    """Rows of the table for one pair."""
    x = torch.rand(batch, *pair.ours.signal_shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        y, other = pair.ours.A(x), pair.theirs.A(x)
        same = y.shape == other.shape and float((y - other).abs().max()) < 1e-3
        note = "" if same else "  (another phase or edge: same cost, other numbers)"
        gamma = 1 / LAMBDA  # deepinv weighs the data term
        calls: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
            "A": (lambda: pair.ours.A(x), lambda: pair.theirs.A(x)),
            "adjoint": (lambda: pair.ours.adjoint(y), lambda: pair.theirs.A_adjoint(other)),
            "prox": (
                lambda: pair.ours.prox(y, x, LAMBDA),
                lambda: pair.theirs.prox_l2(x, other, gamma, **_limits(pair.theirs)),
            ),
        }
        for name, (ours, theirs) in calls.items():
            mine, yours = _time(ours, repeats), _time(theirs, repeats)
            size = f"{batch}x3x{x.shape[-2]}x{x.shape[-1]}"
            row = f"{pair.name:<22}{size:>12}  {name:<8}{mine:>9.2f}{yours:>10.2f}{yours / mine:>8.1f}"
            yield f"{row}{_memory(ours):>8.1f}{_memory(theirs):>9.1f}{note}"


def _limits(physics: Any) -> dict[str, Any]:
    """Arguments of prox_l2 for physics that iterate; those with a closed form ignore or refuse them."""
    from deepinv.physics import LinearPhysics

    iterates = type(physics).prox_l2 is LinearPhysics.prox_l2
    return {"solver": "CG", "max_iter": CG_ITERATIONS, "tol": 1e-6} if iterates else {}


def _time(call: Callable[[], Any], repeats: int) -> float:
    """Milliseconds of the fastest call after one to warm up: the others were interrupted."""
    call()
    seconds: list[float] = []
    while len(seconds) < repeats or sum(seconds) < LEAST_SECONDS:
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return 1e3 * min(seconds)


def _memory(call: Callable[[], Any]) -> float:
    """Peak of the memory that torch allocates during a call, in MiB."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        call()
    current = peak = 0
    for event in sorted(_allocations(profile), key=lambda e: e.start_ns()):
        current += event.nbytes()
        peak = max(peak, current)
    return peak / 2**20


def _allocations(profile: Any) -> list[Any]:
    """Memory events of the profiler, in bytes: positive when allocated, negative when freed."""
    events = profile.profiler.kineto_results.events()
    return [event for event in events if event.name() == "[memory]"]
