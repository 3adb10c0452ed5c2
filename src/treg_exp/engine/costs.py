"""What a restoration costs, as columns that the engine adds to its row."""

from __future__ import annotations

from treg_exp.metrics.column import Column

#: Of one restoration: that of its batch, divided by its size.
COSTS = ("seconds", "nfe", "nfe_backward", "encodes", "decodes")
#: Of the batch that a restoration was part of: bytes in use at most, in GB, and restorations in it.
OF_BATCH = PEAK_MEMORY, BATCH = "peak_memory", "batch"
#: What the same run may measure otherwise the next time.
NOT_REPEATED = ("seconds", *OF_BATCH)


def cost_columns(noun: str) -> dict[str, Column]:
    """The columns of ``COSTS`` and ``OF_BATCH``.

    Args:
        noun: one signal, for the heading.
    """
    columns = (
        Column(f"s per\n{noun}", digits=2, summary="cost"),
        Column("NFE", digits=0, summary="cost"),
        Column("NFE\nbackward", digits=0, summary="cost", in_table="nonzero"),
        Column("encodes", digits=0, summary="cost", in_table="never"),
        Column("decodes", digits=0, summary="cost", in_table="never"),
        Column(
            "peak\nmemory",
            "GB",
            2,
            summary="max",
            note="peak memory: the largest of a whole batch and the models; of a CPU that of the process.",
        ),
        Column("batch", digits=0, summary="cost", in_table="never"),
    )
    return dict(zip((*COSTS, *OF_BATCH), columns, strict=True))
