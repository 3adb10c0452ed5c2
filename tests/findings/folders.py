"""Run folders with made-up numbers."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from treg_exp.engine.status import write_status
from treg_exp.files import write_json
from treg_exp.metrics.column import Column, Columns
from treg_exp.run_layout import RunLayout

COLUMNS = Columns({
    "psnr": Column("PSNR", "dB", 2, higher_is_better=True),
    "lpips": Column("LPIPS", "", 3, higher_is_better=False),
    "residual": Column("residual", "", 3, higher_is_better=False),
    "judge_own": Column("judge\nown", "", 3, higher_is_better=True),
    "seconds": Column("s per\nimage", "", 2, summary="cost"),
})  # fmt: skip
Number = Callable[[int], Mapping[str, float]]


def run(
    folder: Path, numbers: Number, images: int = 12, variant: str = "own", measured: str | None = "m",
    pictures: bool = False, **settings: Any,
) -> Path:  # fmt: skip
    """A finished run whose image i has ``numbers(i)``, without hashes of measurements where ``measured`` is None.

    Nested settings are given as ``guidance__scale=3``.
    """
    identity: dict[str, Any] = {"seed": 0, "task": {"name": "sr_x8"}, "guidance": {"scale": 1}}
    for key, value in settings.items():
        node = identity
        *parents, leaf = key.split("__")
        for parent in parents:
            node = node.setdefault(parent, {})
        node[leaf] = value
    layout = RunLayout(folder)
    write_json(layout.identity, identity)
    write_json(layout.environment, {"git": "abc", "precision": "float32", "packages": {"torch": "2.14.1"}})
    COLUMNS.write(layout.columns)
    write_status(folder, {"state": "finished", "expected": images, "finished": images})
    rows = []
    for i in range(images):
        name = f"image_{i:02d}"
        told = {"prompt": f"thing {i}"} | ({} if measured is None else {"measurement": f"{measured}{i}"})
        rows.append({"sample_id": name, "variant": variant, "draw": 0, **told, **numbers(i)})
        if pictures:
            save(layout.sample(name) / "target.png", 200)
            save(layout.sample(name) / "measurement.png", 120)
            save(layout.variant(name, variant) / "reconstruction.png", 8 * i)
    layout.rows.mkdir(exist_ok=True)
    (layout.rows / "rank-0.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def save(file: Path, red: int) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (32, 32), (red, 90, 90)).save(file)
