"""How much less items tell that belong to groups, such as the mails of one customer."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from metier.evaluation.statistics import clustered_standard_error

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]


def design_effect(values: Floats | Sequence[float], groups: Places | None) -> float:
    """Variance of a mean over groups relative to items that stand alone (Kish 1965); never below 1.

    Without spread it is the mean size of a group: then all that is known is that groups agree.

    Args:
        values: A number for each item, shape (items,).
        groups: Group number of each item. None: items stand alone.
    """
    data = np.asarray(values, dtype=np.float64)
    if groups is None or len(data) < 2:
        return 1.0
    clusters = len(np.unique(groups))
    clustered = clustered_standard_error(data.tolist(), groups.tolist())
    alone = float(data.std(ddof=1)) / math.sqrt(len(data))
    if clustered is None or alone < 1e-12:
        return len(data) / clusters
    return min(max(1.0, (clustered / alone) ** 2), float(len(data)))
