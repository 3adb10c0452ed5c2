"""Split, names and captions."""

from __future__ import annotations

import csv
import re
from dataclasses import replace
from importlib.resources import files
from itertools import product

import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from treg_exp.recipes.emoji64.augment import jitter, may_flip, wear
from treg_exp.recipes.emoji64.captions import caption_variants, draw_caption, names_style, styled_caption
from treg_exp.recipes.emoji64.names import readable_name, readable_short_name
from treg_exp.recipes.emoji64.sources import Picture
from treg_exp.recipes.emoji64.split import HELD_OUT, TEST, TEST_CATEGORIES, draw_split

STYLES = ("noto", "twemoji", "fluent")
CATEGORIES = [*sorted(TEST_CATEGORIES), "flags", "symbols", "people & body"]


@pytest.fixture(scope="module")
def pictures() -> list[Picture]:
    """1800 pictures of 620 things; the last 60 things lack the third style."""
    return [
        Picture(f"thing_{n}-{style}", f"thing {n}", (), style, CATEGORIES[n % len(CATEGORIES)], "", f"{n:x}")
        for style, n in product(STYLES, range(620))
        if not (style == "fluent" and n >= 560)
    ]


def test_split_holds_out_500_of_which_200_are_the_test_set(pictures: list[Picture]) -> None:
    split = draw_split(pictures)
    assert len(set(split.held_out)) == HELD_OUT == 500
    assert len(set(split.test)) == TEST == 200
    assert set(split.test) <= set(split.held_out)
    assert set(split.train) | set(split.held_out) == set(range(len(pictures)))


def test_no_held_out_picture_is_trained_on(pictures: list[Picture]) -> None:
    split = draw_split(pictures)
    trained = {pictures[index].sample_id for index in split.train}
    assert trained.isdisjoint(pictures[index].sample_id for index in split.held_out)


def test_every_held_out_name_is_trained_on_in_both_other_styles(pictures: list[Picture]) -> None:
    split = draw_split(pictures)
    trained = {(pictures[index].name, pictures[index].style) for index in split.train}
    for index in split.held_out:
        others = [style for style in STYLES if style != pictures[index].style]
        assert all((pictures[index].name, style) in trained for style in others)


def test_further_drawings_change_nothing_and_keep_what_is_held_out_unseen(pictures: list[Picture]) -> None:
    before = draw_split(pictures)
    extra = [replace(p, style=style) for style in ("blob", "flat", "emojitwo") for p in pictures if p.style == "noto"]
    after = draw_split([*pictures, *extra])
    assert (after.train, after.held_out, after.test) == (before.train, before.held_out, before.test)
    hidden = {(pictures[index].name, pictures[index].style) for index in before.held_out}
    seen = {(extra[index - len(pictures)].name, extra[index - len(pictures)].style) for index in after.further}
    for style, relative in (("blob", "noto"), ("flat", "fluent")):
        expected = {name for name in (f"thing {n}" for n in range(620)) if (name, relative) not in hidden}
        assert {name for name, other in seen if other == style} == expected
    assert len([name for name, style in seen if style == "emojitwo"]) == 620


def test_split_is_the_same_every_time_and_another_for_another_seed(pictures: list[Picture]) -> None:
    assert draw_split(pictures) == draw_split(pictures)
    assert draw_split(pictures) != draw_split(pictures, seed=1)


def test_test_set_has_no_flags_symbols_or_people(pictures: list[Picture]) -> None:
    assert {pictures[index].category for index in draw_split(pictures).test} <= TEST_CATEGORIES


@pytest.mark.parametrize(
    ("formal", "codepoint", "subcategory", "expected"),
    [
        ("RELIEVED FACE", "1F60C", "face-sleepy", "relieved face"),
        ("Japan Flag", "1F1EF-1F1F5", "country-flag", "flag of japan"),
        ("St. Barthélemy Flag", "1F1E7-1F1F1", "country-flag", "flag of st barthelemy"),
        ("KEYCAP 3", "0033-FE0F-20E3", "keycap", "keycap 3"),
        ("HASH KEY", "0023-FE0F-20E3", "keycap", "keycap hash"),
        ("SQUARED OK", "1F197", "alphanum", "ok button"),
        ("THUMBS UP SIGN", "1F44D", "hand-fingers-closed", "thumbs up"),
        ("FULL MOON SYMBOL", "1F315", "sky & weather", "full moon"),
        ("FAMILY: MAN, WOMAN, BOY", "1F468-200D-1F469-200D-1F466", "family", "family of man woman and boy"),
        ("WOMAN: RED HAIR", "1F469-200D-1F9B0", "person", "woman with red hair"),
        ("BLACK SCISSORS", "2702-FE0F", "office", "scissors"),
    ],
)
def test_names_are_what_people_type(formal: str, codepoint: str, subcategory: str, expected: str) -> None:
    assert readable_name(formal, codepoint, subcategory) == expected


@pytest.mark.parametrize(
    ("short", "expected"),
    [("european_castle", "european castle"), ("+1", ""), ("u7121", ""), ("flag-jp", ""), ("tiger2", "tiger")],
)
def test_short_names_are_words_or_nothing(short: str, expected: str) -> None:
    assert readable_short_name(short) == expected


def test_the_test_caption_is_the_commonest_in_training() -> None:
    apple = Picture("red_apple-fluent", "red apple", ("apple",), "fluent", "food & drink", "food-fruit", "1f34e")
    variants = caption_variants(apple)
    assert max(variants, key=lambda caption: variants[caption]) == styled_caption("red apple", "fluent")
    assert {"red apple", "a red apple", "an emoji of a red apple", "apple", "an apple", "fruit red apple"} <= set(
        variants
    )
    assert "a photo of a fruit" in variants
    assert "a photo of a fruit" not in caption_variants(apple, naming=True)
    generator = torch.Generator().manual_seed(0)
    assert {draw_caption(apple, generator) for _ in range(200)} <= set(variants)


def test_only_pictures_without_direction_are_mirrored() -> None:
    def about(name: str, category: str = "objects") -> Picture:
        return Picture("x", name, (), "noto", category, "", "")

    assert may_flip(about("red apple"))
    assert not may_flip(about("backhand index pointing left"))
    assert not may_flip(about("flag of japan", "flags"))


def test_jitter_brings_in_white_and_can_do_nothing() -> None:
    images = torch.rand(4, 3, 64, 64) * 2 - 1
    never = torch.zeros(4, dtype=torch.bool)
    same = jitter(images, torch.Generator().manual_seed(0), shift=0.0, scale=(1.0, 1.0), flip=never)
    torch.testing.assert_close(same, images, atol=1e-4, rtol=0)
    smaller = jitter(images, torch.Generator().manual_seed(0), shift=0.0, scale=(0.5, 0.5), flip=never)
    torch.testing.assert_close(smaller[:, :, :8], torch.ones(4, 3, 8, 64))


def test_a_turn_there_and_back_changes_little() -> None:
    ink = F.avg_pool2d(torch.rand(2, 3, 48, 48, generator=torch.Generator().manual_seed(0)), 9, stride=1)
    whole = 1 - F.pad(ink, (12, 12, 12, 12))
    never = torch.zeros(2, dtype=torch.bool)
    turned = jitter(whole, torch.Generator().manual_seed(3), shift=0.0, scale=(1.0, 1.0), flip=never, turn=15.0)
    assert (turned - whole).abs().max() > 0.1
    torch.testing.assert_close(turned.mean(dim=(1, 2, 3)), whole.mean(dim=(1, 2, 3)), atol=5e-3, rtol=0)


def test_wear_does_nothing_at_strength_zero_and_each_thing_at_its_own() -> None:
    images = torch.rand(64, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    none = {"blur": 0.0, "light": 0.0, "noise": 0.0, "hole": 0}

    def worn(**strength: float) -> torch.Tensor:
        return wear(images, torch.Generator().manual_seed(0), **{**none, **strength})  # type: ignore[arg-type]

    torch.testing.assert_close(worn(), images, atol=1e-5, rtol=0)
    detail = worn(blur=2.0)[..., 8:-8, 8:-8].std(dim=(1, 2, 3)) / images[..., 8:-8, 8:-8].std(dim=(1, 2, 3))
    assert 16 < (detail > 0.99).sum() < 48  # about half stay sharp
    assert detail.min() < 0.3
    assert (worn(light=0.2) - images).abs().amax(dim=(1, 2, 3)).median() > 0.05
    assert 0.02 < (worn(noise=0.15) - images).std() < 0.15
    holes = ((worn(hole=20) == 1.0) & (images < 1.0)).all(dim=1).sum(dim=(1, 2))
    assert set(holes.tolist()) <= {0, 20 * 20}
    assert 16 < (holes > 0).sum() < 48


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("flat shoe", False),
        ("flat shoe, noto style", True),
        ("flat shoe, flat style", True),
        ("fluent emoji of a tiger", True),
        ("an emoji of a tiger", False),
    ],
)
def test_a_style_word_in_a_name_is_no_style(caption: str, expected: bool) -> None:
    assert names_style(caption) is expected


def test_packaged_test_set_is_well_formed() -> None:
    folder = files("treg_exp") / "assets" / "emoji_test"
    rows = list(csv.DictReader((folder / "captions.csv").read_text().splitlines()))
    texts = ["sample_id", "caption", "counterfactual", "name", "counterfactual_name", "style", "category"]
    assert list(rows[0])[:7] == texts
    assert len({row["sample_id"] for row in rows}) == len(rows) == TEST
    for row in rows:
        assert re.fullmatch(r"[a-z0-9_-]+", row["sample_id"])
        assert row["caption"] == styled_caption(row["name"], row["style"])
        assert row["counterfactual"] == styled_caption(row["counterfactual_name"], row["style"])
        with (folder / "images" / f"{row['sample_id']}.png").open("rb") as handle, Image.open(handle) as image:
            assert (image.mode, image.size) == ("RGB", (64, 64))
