"""Write the trained prior as a folder in diffusers layout, and the judge beside it, each with its card."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from treg_exp.errors import FieldError
from treg_exp.files import read_json, write_json, write_text
from treg_exp.metrics.networks.judge import load_judge
from treg_exp.priors.image_text.folder_clip import FolderClip
from treg_exp.priors.small import PREPROCESSOR, training_scheduler
from treg_exp.recipes.emoji64.corpus import Corpus
from treg_exp.recipes.emoji64.evaluate import evaluate
from treg_exp.recipes.emoji64.judgecard import judge_card
from treg_exp.recipes.emoji64.modelcard import model_card, sampling_of, training_record
from treg_exp.recipes.emoji64.networks import TwoTowers
from treg_exp.recipes.emoji64.retrieval import held_out_hits
from treg_exp.recipes.emoji64.samples import PAIRS, SHEET_PROMPTS, contact_sheet, draw_samples, sheet_of_pairs
from treg_exp.recipes.emoji64.trained import TrainedStages
from treg_exp.shipped import ASSETS, write_hashes
from treg_exp.signals.image import save_png
from treg_exp.training.folder import TrainingFolder

if TYPE_CHECKING:
    from diffusers import StableDiffusionPipeline


def export(
    corpus: Corpus, stages: TrainedStages, target: Path | None = None, figures: bool = True, shard_mb: int | None = None
) -> Path:
    """Export the averaged weights of the prior in half precision, and of the judge beside it if it was trained.

    Each folder is written beside its target under another name and moved over it when it is complete.

    Args:
        corpus: pictures and split.
        stages: what to export.
        target: folder to replace; None for the package's own ``assets/emoji64``.
        figures: measure, draw the sheet of samples and write the model card (minutes on a CPU).
        shard_mb: largest file of weights in megabytes, as diffusers divides and reads them; None for one per network.

    Returns:
        The folder of the prior; that of the judge is called ``judge`` and lies beside it.
    """
    target = target or ASSETS / "emoji64"
    judge = export_judge(corpus, stages, target.with_name("judge"))
    with replacing(target) as partial:
        _write_weights(corpus, stages, partial, shard_mb)
        if figures:
            _write_card(corpus, stages, partial, judge)
    return target


def measure(corpus: Corpus, stages: TrainedStages, target: Path | None = None) -> None:
    """Measure an exported prior again and write its sheets, figures and card anew; the weights stay.

    Args:
        corpus: pictures and split.
        stages: tell what they took, where they were trained in their folder.
        target: the folder of the prior, with the judge beside it; None for the package's own ``assets/emoji64``.
    """
    target = target or ASSETS / "emoji64"
    judge = target.with_name("judge")
    record_of = TrainedStages(stages.out, stages.start_from or target, stages.denoiser_in)
    _write_card(corpus, record_of, target, judge if judge.is_dir() else ASSETS / "judge")
    write_hashes(target)
    print(f"measured {target}", flush=True)


def export_judge(corpus: Corpus, stages: TrainedStages, target: Path) -> Path:
    """Export the averaged weights of the evaluation model in half precision.

    Args:
        corpus: pictures and split.
        stages: one of which it is.
        target: folder to replace.

    Returns:
        The folder; that of the judge in the package if the stage was never trained.
    """
    if not stages.is_trained("judge"):
        print("the judge was not trained: nothing is exported for it, and the package's measures", flush=True)
        return ASSETS / "judge"
    judge = stages.judge()
    with replacing(target) as partial:
        judge.save(partial)
        write_text(partial / "README.md", judge_card(corpus, stages.folder("judge"), held_out_hits(judge, corpus)))
    return target


def load_pipeline(folder: Path) -> StableDiffusionPipeline:
    """Load an exported prior in single precision.

    Args:
        folder: what `export` wrote.
    """
    from diffusers import StableDiffusionPipeline
    from diffusers.utils import is_accelerate_available

    return StableDiffusionPipeline.from_pretrained(
        folder,
        safety_checker=None,
        torch_dtype=torch.float32,
        low_cpu_mem_usage=is_accelerate_available(),  # asking for it without accelerate prints a warning
    )


def load_clip(folder: Path, text_encoder: Any, tokenizer: Any) -> FolderClip:
    """CLIP of an exported prior: its image tower beside the text tower of its pipeline.

    Args:
        folder: of the prior.
        text_encoder: of the pipeline.
        tokenizer: likewise.
    """
    from transformers import ConvNextModel

    statistics = json.loads((folder / "image_encoder" / "preprocessor_config.json").read_text())
    tower = ConvNextModel.from_pretrained(folder / "image_encoder", dtype=torch.float32)
    return FolderClip(tower, text_encoder, tokenizer, statistics["image_mean"], statistics["image_std"])


def _write_weights(corpus: Corpus, stages: TrainedStages, folder: Path, shard_mb: int | None) -> None:
    from diffusers import StableDiffusionPipeline

    vae = half(stages.autoencoder())
    vae.register_to_config(scaling_factor=stages.scaling_factor(corpus))
    towers = stages.towers()
    pipe = StableDiffusionPipeline(
        vae=vae,
        text_encoder=half(towers.text_encoder),
        tokenizer=stages.tokenizer(),
        unet=half(stages.denoiser()),
        scheduler=training_scheduler(stages.prediction()),
        safety_checker=None,
        feature_extractor=None,
        image_encoder=None,  # the pipeline would not use it, and warns of towers other than CLIP's
        requires_safety_checker=False,
    )
    divided = {} if shard_mb is None else {"max_shard_size": f"{shard_mb}MB"}
    pipe.save_pretrained(folder, safe_serialization=True, **divided)
    write_towers(towers, folder)


def write_towers(towers: TwoTowers, folder: Path) -> None:
    """Write both encoders of an exported prior, in half precision: ``text_encoder/`` and ``image_encoder/``."""
    write_encoder(towers.text_encoder, folder / "text_encoder")
    write_encoder(towers.image_encoder, folder / "image_encoder")
    write_json(folder / "image_encoder" / "preprocessor_config.json", PREPROCESSOR)


def write_encoder(encoder: Any, folder: Path) -> None:
    """Write an encoder in half precision, which is how the weights are stored, not how they are to be used."""
    half(encoder).save_pretrained(folder)
    config = folder / "config.json"
    write_json(config, {**read_json(config), "dtype": "float32"})


def to_export(stages: TrainedStages, stage: str, what: str, target: Path | None) -> tuple[TrainingFolder, Path]:
    """The folder of a training that is exported, and the target.

    Raises:
        FieldError: no folder to write to, or nothing that was trained.
    """
    if target is None:
        raise FieldError("export_dir", target, f"say where {what} is exported to")
    folder = stages.folder(stage)
    if not folder.checkpoint.is_file():
        raise FieldError("out", stages.out, f"{folder.checkpoint} does not exist: train the stage {stage} first")
    return folder, target


def half(network: Any) -> Any:
    """A copy of a network as it is stored: in half precision, laid out plainly."""
    return copy.deepcopy(network).to(memory_format=torch.contiguous_format).half().eval()


def _write_card(corpus: Corpus, stages: TrainedStages, folder: Path, judge: Path) -> None:
    pipe = load_pipeline(folder)
    clip = load_clip(folder, pipe.text_encoder, pipe.tokenizer)
    encoders = {"clip": clip, "judge": load_judge(judge)}
    record = training_record(stages)
    sampling = sampling_of(record)
    measured = evaluate(pipe, corpus, encoders, sampling=sampling)
    worst, copies = measured.worst(PAIRS), measured.copies(PAIRS)
    sheets = {
        "samples": contact_sheet(draw_samples(pipe, list(SHEET_PROMPTS), sampling.guidance, sampling.steps)),
        "failures": sheet_of_pairs(measured.samples[worst], corpus.as_float(measured.prompted[worst])),
        "nearest": sheet_of_pairs(measured.samples[copies], corpus.as_float(measured.nearest[copies])),
    }
    for name, sheet in sheets.items():
        save_png(sheet, folder / f"{name}.png")
    figures = measured.figures()
    tables = {"all": figures, "categories": measured.by_category(), "training": record}
    write_json(folder / "figures.json", tables)
    write_text(folder / "README.md", model_card(corpus, record, measured, pipe.scheduler.config.prediction_type))
    print("  ".join(f"{name} {figure['mean']:g}" for name, figure in figures.items()), flush=True)


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """A folder to fill, which takes the target's place, with its hashes, when that went well."""
    partial, old = (target.with_name(f".{target.name}.{word}") for word in ("partial", "old"))
    for leftover in (partial, old):
        shutil.rmtree(leftover, ignore_errors=True)
    partial.mkdir(parents=True)
    yield partial
    for file in partial.rglob("*.safetensors"):
        file.chmod(0o644)  # some writers make files that only their owner can read
    write_hashes(partial)
    if target.exists():
        target.rename(old)
    partial.rename(target)
    shutil.rmtree(old, ignore_errors=True)
    print(f"exported to {target}", flush=True)
