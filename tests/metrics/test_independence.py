"""A judge by open_clip has to be another network than those that guide: by name, by tag and by its weights."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import open_clip
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.metrics.test_metrics import batch
from treg_exp.errors import FieldError
from treg_exp.metrics.chosen import Measures
from treg_exp.metrics.independence import architecture, check_other, guides_of, same_tower
from treg_exp.metrics.open_clip_judge import OpenClipJudge
from treg_exp.metrics.provenance import hash_of_versions
from treg_exp.priors.image_text.open_clip import OpenClipFiles
from treg_exp.text.match.image_text import ImageTextMatch
from treg_exp.text.policy import TextPolicy

NAMES = ("tiny-guide", "tiny-judge")
CONFIG = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "patch_size": 8},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models of one shape under two names, and their weights, each from its own training, so to speak."""
    place = tmp_path_factory.mktemp("open_clip")
    for name in NAMES:
        (place / f"{name}.json").write_text(json.dumps(CONFIG))
    open_clip.add_model_config(place)
    for seed, name in enumerate(NAMES):
        torch.manual_seed(seed)
        model = open_clip.create_model(name, load_weights=False)
        save_file({k: v.contiguous() for k, v in model.state_dict().items()}, place / f"{name}.safetensors")
    return place


@pytest.fixture
def guide(folder: Path) -> OpenClipFiles:
    return OpenClipFiles("tiny-guide", str(folder / "tiny-guide.safetensors"))


@pytest.fixture
def judge(folder: Path) -> OpenClipFiles:
    return OpenClipFiles("tiny-judge", str(folder / "tiny-judge.safetensors"))


def guided_by(files: OpenClipFiles) -> dict[str, object]:
    return {"variants.own": TextPolicy(text_match=ImageTextMatch(open_clip=files))}


def test_guides_are_found_wherever_they_stand(guide: OpenClipFiles, judge: OpenClipFiles) -> None:
    @dataclass
    class Deep:
        parts: dict[str, list[object]]

    found = guides_of({**guided_by(guide), "solver": Deep({"scores": [1, ImageTextMatch(open_clip=judge)]})})
    assert [each.place for each in found] == ["variants.own.text_match.open_clip", "solver.parts.scores.1.open_clip"]
    assert guides_of({"a": guide, "b": guide})[0].place == "a"
    assert len(guides_of({"a": guide, "b": guide})) == 1
    assert guides_of({"variants.own": TextPolicy()}) == []


def test_another_network_is_fine(guide: OpenClipFiles, judge: OpenClipFiles) -> None:
    assert check_other(judge, guides_of(guided_by(guide))) == ""


def test_the_same_weights_are_found_under_any_name(guide: OpenClipFiles, folder: Path, tmp_path: Path) -> None:
    """A copy, and one in half precision, whose hash is another."""
    copy, half = tmp_path / "copy.safetensors", tmp_path / "half.safetensors"
    copy.write_bytes(guide.file.read_bytes())
    state = load_file(guide.file)
    save_file({k: v.bfloat16() if v.is_floating_point() else v for k, v in state.items()}, half)
    for file, what in ((copy, "weights"), (half, "image tower|text tower")):
        with pytest.raises(FieldError, match=rf"^open_clip\.weights=.*holds the ({what}) of variants\.own\.text_match"):
            check_other(OpenClipFiles("tiny-judge", str(file)), guides_of(guided_by(guide)))


def test_one_tower_in_common_is_enough(guide: OpenClipFiles, judge: OpenClipFiles, tmp_path: Path) -> None:
    own, theirs = load_file(judge.file), load_file(guide.file)
    mixed = {k: theirs[k] if k == "token_embedding.weight" else v for k, v in own.items()}
    save_file(mixed, tmp_path / "mixed.safetensors")
    assert same_tower(tmp_path / "mixed.safetensors", [guide.file]) == "text tower"
    assert same_tower(judge.file, [guide.file]) == ""


def test_names_and_tags(guide: OpenClipFiles, judge: OpenClipFiles) -> None:
    other_weights = replace(judge, model="tiny-guide")
    with pytest.raises(FieldError, match=r"^open_clip\.model=tiny-guide: is the architecture of .*no tag tells them"):
        check_other(other_weights, guides_of(guided_by(guide)))
    tagged = replace(guide, pretrained="openai")
    with pytest.raises(FieldError, match="with the same tag openai"):
        check_other(replace(other_weights, pretrained="openai"), guides_of(guided_by(tagged)))
    told = check_other(replace(other_weights, pretrained="laion2b"), guides_of(guided_by(tagged)))
    assert told.startswith("tiny-guide is the architecture of variants.own.text_match.open_clip, trained otherwise")
    assert architecture("ViT-L-14-quickgelu") == architecture("ViT-L-14-336-quickgelu") == "ViT-L-14"
    assert architecture("ViT-B-16-SigLIP-512") == "ViT-B-16-SigLIP" != architecture("ViT-B-16")


def test_the_priors_own_towers_count(judge: OpenClipFiles, tmp_path: Path) -> None:
    """Stable Diffusion's text encoder is the text tower of OpenAI's ViT-L-14, under the names of transformers."""
    (tmp_path / "text_encoder").mkdir()
    file = tmp_path / "text_encoder" / "model.safetensors"
    name = "text_model.embeddings.token_embedding.weight"
    save_file({name: load_file(judge.file)["token_embedding.weight"].half()}, file)
    prior = SimpleNamespace(files=[file, tmp_path / "text_encoder" / "config.json"])
    with pytest.raises(FieldError, match="holds the text tower of prior's text_encoder"):
        check_other(judge, guides_of({"prior": prior}))
    save_file({name: torch.randn(49408, 32)}, file)
    assert check_other(judge, guides_of({"prior": prior})) == ""


def test_a_run_is_refused_with_the_place(guide: OpenClipFiles, judge: OpenClipFiles) -> None:
    measures = Measures({"judge_alignment": OpenClipJudge(guide)})
    with pytest.raises(FieldError, match=r"^judge_alignment\.open_clip\.weights=.*holds the weights of variants\.own"):
        measures.check("image", (), guided_by(guide))
    assert Measures({"judge_alignment": OpenClipJudge(judge)}).check("image", (), guided_by(guide)) == []


def test_the_judge_gives_cosines_and_tells_its_weights(judge: OpenClipFiles) -> None:
    metric = OpenClipJudge(judge)
    inp: Any = batch(3, texts=[{"caption": "a cat", "counterfactual": "a dog"}, {"caption": "a hat"}, {}])
    values = metric(inp)
    encoder = judge.load(torch.device("cpu"))
    expected = (encoder.image_features(inp.signal[:1]) * encoder.text_features(["a cat"])).sum()
    assert values["judge_own"][0] == pytest.approx(float(expected), abs=1e-5)
    assert [value is None for value in values["judge_own"]] == [False, False, True]
    assert [value is None for value in values["judge_counterfactual"]] == [False, True, True]
    assert not metric.columns["judge_own"].optimised
    versions = Measures({"j": metric}).versions
    assert list(versions["j"]["weights"]) == ["tiny-judge.safetensors"]
    assert versions["j"]["packages"]["open_clip_torch"]
    other = Measures({"j": OpenClipJudge(replace(judge, model="tiny-guide", weights=judge.weights))}).versions
    assert hash_of_versions(other) == hash_of_versions(versions), "the model's name is in the configuration"


@pytest.mark.parametrize(("field", "value"), [("weights", "/nowhere.safetensors"), ("model", "no-such")])
def test_missing_files_are_named_at_the_start(judge: OpenClipFiles, field: str, value: str) -> None:
    with pytest.raises(FieldError, match=rf"^open_clip\.{field}="):
        OpenClipJudge(replace(judge, **{field: value}))
