"""``treg-exp train-prior``: a short form of ``run.py mode=fit recipe=emoji64/...``, and what comes after training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf

from treg_exp.configuration.folder import config_folder
from treg_exp.errors import ConfigError
from treg_exp.recipes.emoji64.corpus import CorpusFolder, pack
from treg_exp.recipes.emoji64.trained import TrainedStages
from treg_exp.shipped import ASSETS
from treg_exp.training.fit import fit

#: Option of the command -> key of the recipe.
KEYS = {
    "out": "out",
    "data_dir": "data_dir",
    "start_from": "start_from",
    "minutes": "budget.minutes",
    "steps": "budget.steps",
    "batch_size": "data.batch_size",
    "seed": "seed",
    "precision": "trainer.precision",
    "device": "trainer.accelerator",
}
STAGES = ("autoencoder", "clip", "judge", "unet")
#: Other trainings of a denoiser: in the background, its annealing, on a GPU, a student of few steps, of pixels, a flow.
VARIANTS = ("unet_long", "unet_anneal", "unet_gpu", "student", "pixel", "flow")


def train_prior(
    stage: str,
    export_dir: Path | None = None,
    pack_file: Path = Path("drawings.npz"),
    denoiser: str = "unet",
    shard_mb: int | None = None,
    **wishes: Any,
) -> None:
    """Do one step of the recipe.

    Args:
        stage: one of `STAGES` or of their `VARIANTS`, ``export``, ``export-pixel``, ``export-flow``, ``figures``,
            ``pack``, ``test-set``, ``validation-set``, or ``all``: the stages and export.
        export_dir: where export writes and figures reads; None for the package's own assets.
        pack_file: where pack writes.
        denoiser: folder in ``out`` of the denoiser that is exported.
        shard_mb: largest file of weights that export writes, in megabytes.
        wishes: values by the names in `KEYS`; None leaves the recipe's.
    """
    if stage == "all":
        for each in (*STAGES, "export"):
            train_prior(each, export_dir, **wishes)
        return
    if stage in (*STAGES, *VARIANTS):
        fit(recipe_config(stage, **wishes))
        return
    trained = stage.removeprefix("export-")  # pixel and flow begin with the shipped prior, the others with nothing
    recipe = recipe_config(trained if trained in VARIANTS else "unet", **wishes).recipe
    corpus = CorpusFolder(recipe.data_dir, recipe.corpus.held_out, recipe.corpus.test).load()
    stages = TrainedStages(recipe.out, recipe.start_from, denoiser)
    if stage == "export":
        from treg_exp.recipes.emoji64.export import export

        export(corpus, stages, export_dir, shard_mb=shard_mb)
    elif stage == "export-pixel":
        from treg_exp.recipes.emoji64.pixel_export import export_pixel

        export_pixel(stages, export_dir, corpus)
    elif stage == "export-flow":
        from treg_exp.recipes.emoji64.flow_export import export_flow

        export_flow(corpus, stages, export_dir)
    elif stage == "figures":
        from treg_exp.recipes.emoji64.export import measure

        measure(corpus, stages, export_dir)
    elif stage == "pack":
        file = pack(corpus, pack_file)
        print(f"packed {len(corpus.pictures)} drawings into {file}, {file.stat().st_size / 1e6:.1f} MB", flush=True)
    elif stage == "test-set":
        from treg_exp.recipes.emoji64.testset import write_test_set

        write_test_set(corpus, ASSETS / "emoji_test")
    elif stage == "validation-set":
        from treg_exp.recipes.emoji64.testset import write_validation_set

        write_validation_set(corpus, ASSETS / "emoji_validation")
    else:
        raise ConfigError(f"stage={stage}: no such stage")


def recipe_config(stage: str, **wishes: Any) -> DictConfig:
    """What ``run.py mode=fit recipe=emoji64/STAGE`` composes.

    Args:
        stage: one of `STAGES` or of their `VARIANTS`.
        wishes: values by the names in `KEYS`; None leaves the recipe's. Steps without minutes are the only budget.
    """
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        cfg = compose("config", overrides=["mode=fit", f"recipe=emoji64/{stage}"])
    given = {name: value for name, value in wishes.items() if value is not None}
    if given.get("device") == "cuda":
        given["device"] = "gpu"  # Lightning's word
    if "steps" in given and "minutes" not in given:
        OmegaConf.update(cfg, "recipe.budget.minutes", None)
    for name, value in given.items():
        OmegaConf.update(cfg, f"recipe.{KEYS[name]}", str(value) if isinstance(value, Path) else value)
    return cfg
