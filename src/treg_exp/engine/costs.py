"""What a restoration costs, as columns that the engine adds to its row."""

from __future__ import annotations

from treg_exp.metrics.column import Column

COSTS = ("seconds", "nfe", "nfe_backward", "encodes", "decodes")


def cost_columns(noun: str) -> dict[str, Column]:
    """The columns of ``COSTS``.

    Args:
        noun: one signal, for the heading.
    """
    columns = (
        Column(f"s per\n{noun}", digits=2),
        Column("NFE", digits=0),
        Column("NFE\nbackward", digits=0, in_table="nonzero"),
        Column("encodes", digits=0, in_table="never"),
        Column("decodes", digits=0, in_table="never"),
    )
    return dict(zip(COSTS, columns, strict=True))
