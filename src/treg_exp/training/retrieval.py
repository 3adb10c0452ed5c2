"""Is the name of a picture among the best of all names?"""

from __future__ import annotations

from torch import Tensor


def name_hits(image: Tensor, text: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """Whether the right name is the best match of each picture, and whether it is among the best five.

    Args:
        image: (B, F) unit vectors of pictures.
        text: (N, F) unit vectors of all names.
        labels: (B,) int64, positions of the right names.

    Returns:
        ``top1`` and ``top5``, each (B,) float64 of 1 and 0.
    """
    best = (image @ text.T).topk(min(5, len(text)), dim=1).indices.cpu()
    hits = best == labels[:, None]
    return {"top1": hits[:, 0].double(), "top5": hits.any(dim=1).double()}
