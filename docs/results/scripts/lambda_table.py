"""Lambda, weights and gains of the tasks: the second table of docs/results/operators.md."""

from pathlib import Path

from hydra.utils import instantiate
from omegaconf import OmegaConf


def row(name, size, **operator):
    """One line: the task at an image size, with further settings of its operator."""
    config = OmegaConf.load(Path("conf/task") / f"{name}.yaml")
    task = instantiate(OmegaConf.merge(config, {"operator": operator} if operator else {}))
    A = task.build((3, size, size), ["any"])
    # a mask has the singular value 1 for every pixel that it measures
    s = A.singular_values if hasattr(A, "singular_values") else A.measured()[0, 0]
    s, lam, cells = s[s > 0], task.lam(A), [name, size, f"{A.norm_sq:.4f}", task.noise.sigma]
    for value in (lam, 1e-4):
        gains = s / (s**2 + value)  # singular values of the map y -> x
        rms = task.noise.sigma * float(gains.square().sum() / size**2) ** 0.5
        weight = A.norm_sq / (A.norm_sq + value)
        cells += [f"{value:.1e}"] if value == lam else []
        cells += [f"{weight:.2f}", f"{gains.max():.1f}", f"{rms:.3f}"]
    print("|", " | ".join(map(str, cells)), "|")


for name in (
    "box_inpainting",
    "deepinv",
    "denoising",
    "gaussian_deblur",
    "random_inpainting",
    "sr_x16",
    "sr_x4",
    "sr_x8",
):
    row(name, 64)
row("sr_x16", 512)
row("gaussian_deblur", 512, sigma=5.0, kernel_size=61)
row("gaussian_deblur", 512, sigma=5.0, kernel_size=61, truncation=0.03)
