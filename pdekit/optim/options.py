"""Values of options: defaults, and what is refused."""

from __future__ import annotations

from math import isfinite
from numbers import Integral
from typing import Any, TypeAlias

import numpy as np

from pdekit.checks import number

Group: TypeAlias = dict[str, Any]
"""Of parameters, as torch keeps them: tensors and their options."""

RATE = 0.2
"""Default learning rate per gradient."""

LARGEST = 1e30
"""Largest value of an option: its products must not overflow in single precision."""


def rate_of(lr: float | None, steps: int = 1, replicas: int = 1) -> float | None:
    """The default learning rate: for this number of gradients, of up to three replicas."""
    whole = isinstance(steps, Integral) and isinstance(replicas, Integral)
    return RATE * steps * min(replicas, 3) if lr is None and whole else lr


def check_range(
    group: Group,
    name: str,
    lower: float,
    upper: float = LARGEST,
    *,
    open_below: bool = False,
    optional: bool = False,
) -> None:
    """``ValueError`` unless ``group[name]`` is a finite number with lower <= it < upper."""
    value = group[name]
    if optional and value is None:
        return
    try:
        v = number(name, value)
        good = (lower < v if open_below else lower <= v) and v < upper
    except (TypeError, ValueError, RuntimeError):
        good = False
    if not good:
        least = f"{'>' if open_below else '>='} {lower:g}"
        large = isinstance(value, int | float) and isfinite(value) and value >= upper
        most = f" and < {upper:g}" if upper != LARGEST or large else ""
        raise ValueError(f"{name} must be a finite number {least}{most}, got {value!r}")


def check_width(group: Group, name: str, *, optional: bool = False) -> None:
    """``ValueError`` unless ``group[name]`` > 0, and its inverse finite in single precision."""
    check_range(group, name, 0.0, open_below=True, optional=optional)
    if group[name] is not None and group[name] < 1e-30:
        raise ValueError(f"{name} must be a finite number >= 1e-30, got {group[name]!r}")


def check_switch(group: Group, name: str) -> None:
    """``ValueError`` unless ``group[name]`` is True or False."""
    if not isinstance(group[name], bool | np.bool_):  # 1 and 0 compare equal to bools
        raise ValueError(f"{name} must be True or False, got {group[name]!r}")


def check_whole(group: Group, name: str, least: int) -> None:
    """``ValueError`` unless ``group[name]`` is a whole number, at least ``least``."""
    value = group[name]
    whole = isinstance(value, Integral) and not isinstance(value, bool)
    if not (whole and value >= least):
        raise ValueError(f"{name} must be a whole number >= {least}, got {value!r}")


def check_seed(group: Group) -> None:
    """``ValueError`` unless ``group["seed"]`` is a valid seed of the noise."""
    seed = group["seed"]
    whole = isinstance(seed, Integral) and not isinstance(seed, bool)
    if not (whole and 0 <= seed < 1 << 64):
        raise ValueError(f"seed must be a whole number >= 0 and < 2**64, got {seed!r}")
