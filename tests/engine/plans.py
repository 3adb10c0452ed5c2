"""Plans of work items for tests, without a source of data."""

from __future__ import annotations

from treg_exp.engine.plan import Plan


def plan_of(samples: str | list[str], *variants: str, draws: int = 1, tasks: int = 1) -> Plan:
    """A plan of these samples, whose prompt is their name; sample i has the task ``t<i % tasks>``."""
    names = list(samples)
    texts = {variant: {"prompt": names} for variant in variants or ("own",)}
    table = [(name, {"number": str(i)}) for i, name in enumerate(names)]
    return Plan(table, texts, draws, lambda captions: f"t{int(captions['number']) % tasks}" if tasks > 1 else "")
