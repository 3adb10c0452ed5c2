from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from treg_exp.data.prompts import FixedPrompt, Prompt, PromptFromCaption
from treg_exp.engine.work import Variant, WorkItem, batches, pending, plan, spread
from treg_exp.text.guidance.constant import ConstantGuidance
from treg_exp.text.null_text.fixed import FixedNullText
from treg_exp.text.policy import TextPolicy


def items(samples: int, variants: int, draws: int = 1, tasks: int = 1) -> list[WorkItem]:
    return [
        WorkItem(i, f"s{i}", f"v{v}", d, {"prompt": ""}, {}, f"t{i % tasks}" if tasks > 1 else "")
        for i in range(samples)
        for v in range(variants)
        for d in range(draws)
    ]


@given(st.integers(1, 9), st.integers(1, 3), st.integers(1, 2), st.integers(1, 8))
@settings(max_examples=60, deadline=None)
def test_batches_partition_the_items_by_variant(samples: int, variants: int, draws: int, size: int) -> None:
    work = items(samples, variants, draws)
    parts = batches(work, size)
    assert sorted(i.key for part in parts for i in part) == sorted(i.key for i in work)
    assert all(len(part) <= size and len({i.variant for i in part}) == 1 for part in parts)
    per_variant = -(-samples * draws // size)
    assert len(parts) == variants * per_variant


@given(st.integers(1, 9), st.integers(1, 3), st.integers(1, 8), st.integers(1, 4))
@settings(max_examples=60, deadline=None)
def test_batches_never_mix_tasks(samples: int, tasks: int, size: int, processes: int) -> None:
    work = items(samples, 2, tasks=tasks)
    for parts in (batches(work, size), spread(work, size, processes)):
        assert sorted(i.key for part in parts for i in part) == sorted(i.key for i in work)
        assert all(len(part) <= size and len({i.together for i in part}) == 1 for part in parts)


def test_samples_come_together() -> None:
    """An interrupted run has complete rows of its picture grid."""
    assert [[i.key[:2] for i in part] for part in batches(items(4, 2), 2)] == [
        [("s0", "v0"), ("s1", "v0")],
        [("s0", "v1"), ("s1", "v1")],
        [("s2", "v0"), ("s3", "v0")],
        [("s2", "v1"), ("s3", "v1")],
    ]


def test_every_process_gets_work_where_there_is_enough() -> None:
    assert len(spread(items(3, 1), 8, processes=2)) == 2
    assert len(spread(items(3, 1), 8, processes=3)) == 3
    assert len(spread(items(1, 1), 8, processes=4)) == 1
    assert spread([], 8, processes=2) == []


def test_pending_leaves_out_what_is_finished() -> None:
    work = items(2, 2)
    assert [i.key for i in pending(work, {("s0", "v1", 0), ("s1", "v0", 0)})] == [("s0", "v0", 0), ("s1", "v1", 0)]


class Texts:
    """A source of two samples, of which one has a caption."""

    ids = ("with", "without")

    def captions(self, index: int) -> dict[str, str]:
        return {"caption": "a leopard", "counterfactual": "a tiger"} if index == 0 else {"counterfactual": "a tiger"}


def test_without_a_caption_alignment_compares_with_the_first_text_of_a_variant() -> None:
    policy = TextPolicy(ConstantGuidance(), FixedNullText())

    def captions(*prompts: Prompt) -> dict[str, set[str | None]]:
        variants = [Variant(f"v{i}", {"prompt": prompt}, policy) for i, prompt in enumerate(prompts)]
        found: dict[str, set[str | None]] = {}
        for item in plan(Texts(), variants, draws=2):  # type: ignore[arg-type]
            found.setdefault(item.sample_id, set()).add(item.captions.get("caption"))
        return found

    fixed = FixedPrompt("a cat"), FixedPrompt("a dog")
    assert captions(FixedPrompt(""), *fixed) == {"with": {"a leopard"}, "without": {"a cat"}}
    assert captions(PromptFromCaption("counterfactual")) == {"with": {"a leopard"}, "without": {"a tiger"}}
    assert captions(FixedPrompt("")) == {"with": {"a leopard"}, "without": {None}}


def test_a_variant_may_set_a_text_in_any_role() -> None:
    policy = TextPolicy(ConstantGuidance(), FixedNullText())
    texts = {
        "prompt": PromptFromCaption("counterfactual"),
        "source": PromptFromCaption(),
        "null": FixedPrompt("blurry"),
    }
    (item,) = plan(Texts(), [Variant("edit", texts, policy, optional=True)], draws=1)  # type: ignore[arg-type]
    assert (item.sample_id, item.texts) == ("with", {"prompt": "a tiger", "source": "a leopard", "null": "blurry"})
    assert item.told == {"prompt": "a tiger", "source_text": "a leopard", "null_text": "blurry"}


def test_the_data_names_the_task_of_a_sample() -> None:
    policy = TextPolicy(ConstantGuidance(), FixedNullText())
    variant = Variant("v", {"prompt": PromptFromCaption("counterfactual")}, policy)
    made = plan(Texts(), [variant], 1, lambda texts: "one" if "caption" in texts else "")  # type: ignore[arg-type]
    assert [item.told for item in made] == [{"prompt": "a tiger", "task": "one"}, {"prompt": "a tiger"}]
