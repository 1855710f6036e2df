"""Checks of what users bring to a sum of potentials: functions of each point, their gradients."""

from __future__ import annotations

from typing import Any

import numpy as np

from pdekit import checks
from pdekit.potentials.algebra import is_ours, leaves, users_gradient
from pdekit.potentials.consistency import check_gradient, check_pointwise, note, seen


def check_parts(name: str, value: Any, x: Any, values: Any) -> None:
    """``ValueError`` where a user's function is not one of each of the points x alone, or a
    gradient that it brings is that of another. ``values`` are those at x, None if not known yet;
    of a sum each term is checked.
    """
    for part in leaves(value):
        whole = part.of(x) if is_ours(part) and checks.offers(part, "of") else part
        if whole is value or not seen(whole, x):
            _check_part(name, whole, x, values if whole is value else None)
            note(whole, x)
    note(value, x)


def _check_part(name: str, part: Any, x: Any, values: Any) -> None:
    gradient = users_gradient(part)
    if is_ours(part) and not checks.offers(part, "users_gradient"):
        return
    if values is None:
        with np.errstate(all="ignore"):
            values = np.asarray(part(x), dtype=float)
    check_pointwise(name, part, x, values)
    if callable(gradient):
        check_gradient(f"the gradient of {name}", part, x)
