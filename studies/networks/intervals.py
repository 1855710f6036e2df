"""Intervals of means over seeds."""

from math import sqrt

import numpy as np
from scipy import stats


def interval(samples: np.ndarray, level: float) -> tuple[float, float]:
    """Mean and half the width of Student's interval."""
    n = len(samples)
    half = stats.t.ppf((1 + level) / 2, n - 1) * samples.std(ddof=1) / sqrt(n)
    return float(samples.mean()), float(half)
