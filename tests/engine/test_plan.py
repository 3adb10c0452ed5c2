from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.engine.plans import plan_of
from treg_exp.data.prompts import FixedPrompt, Prompt, PromptFromCaption
from treg_exp.engine.plan import Plan, batches, pending, plan, spread
from treg_exp.engine.work import Variant
from treg_exp.text.guidance.constant import ConstantGuidance
from treg_exp.text.null_text.fixed import FixedNullText
from treg_exp.text.policy import TextPolicy


def items(samples: int, variants: int, draws: int = 1, tasks: int = 1) -> Plan:
    return plan_of([f"s{i}" for i in range(samples)], *(f"v{v}" for v in range(variants)), draws=draws, tasks=tasks)


@given(st.integers(1, 9), st.integers(1, 3), st.integers(1, 2), st.integers(1, 8))
@settings(max_examples=60, deadline=None)
def test_batches_partition_the_items_by_variant(samples: int, variants: int, draws: int, size: int) -> None:
    work = items(samples, variants, draws)
    parts = batches(work, range(len(work)), size)
    assert sorted(i for part in parts for i in part) == list(range(samples * variants * draws))
    assert all(len(part) <= size and len({work[i].variant for i in part}) == 1 for part in parts)
    per_variant = -(-samples * draws // size)
    assert len(parts) == variants * per_variant


@given(st.integers(1, 9), st.integers(1, 3), st.integers(1, 8), st.integers(1, 4))
@settings(max_examples=60, deadline=None)
def test_batches_never_mix_tasks(samples: int, tasks: int, size: int, processes: int) -> None:
    work = items(samples, 2, tasks=tasks)
    every = range(len(work))
    for parts in (batches(work, every, size), spread(work, every, size, processes)):
        assert sorted(i for part in parts for i in part) == list(every)
        assert all(len(part) <= size and len({work[i].together for i in part}) == 1 for part in parts)


def test_samples_come_together() -> None:
    """An interrupted run has complete rows of its picture grid."""
    work = items(4, 2)
    assert [[work[i].key[:2] for i in part] for part in batches(work, range(8), 2)] == [
        [("s0", "v0"), ("s1", "v0")],
        [("s0", "v1"), ("s1", "v1")],
        [("s2", "v0"), ("s3", "v0")],
        [("s2", "v1"), ("s3", "v1")],
    ]


def test_every_process_gets_work_where_there_is_enough() -> None:
    assert len(spread(items(3, 1), range(3), 8, processes=2)) == 2
    assert len(spread(items(3, 1), range(3), 8, processes=3)) == 3
    assert len(spread(items(1, 1), range(1), 8, processes=4)) == 1
    assert spread(items(3, 1), [], 8, processes=2) == []


def test_pending_leaves_out_what_is_finished() -> None:
    assert pending(np.array([False, True, True, False])) == [0, 3]


@given(st.lists(st.lists(st.booleans(), min_size=3, max_size=3), min_size=1, max_size=7), st.integers(1, 3))
@settings(max_examples=80, deadline=None)
def test_every_item_is_found_by_its_key_and_others_are_not(there: list[list[bool]], draws: int) -> None:
    """Of optional variants some samples have no item."""
    names = [f"s{i}" for i in range(len(there))]
    texts = {f"v{v}": {"prompt": [f"{v} {n}" if own[v] else None for n, own in zip(names, there, strict=True)]}
             for v in range(3)}  # fmt: skip
    made = Plan([(name, {}) for name in names], texts, draws)
    wanted = [(n, f"v{v}", d) for n, own in zip(names, there, strict=True) for v in range(3) if own[v]
              for d in range(draws)]  # fmt: skip
    assert [item.key for item in made] == wanted
    assert [made.position(key) for key in wanted] == list(range(len(made)))
    assert all(item.texts == {"prompt": f"{item.variant[1]} {item.sample_id}"} for item in made)
    every = {(n, f"v{v}", d) for n in [*names, "foreign"] for v in range(4) for d in range(-1, draws + 1)}
    assert {made.position(key) for key in every - set(wanted)} <= {None}
    assert [len(made.told(f"v{v}")) for v in range(3)] == [sum(own[v] for own in there) for v in range(3)]


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
