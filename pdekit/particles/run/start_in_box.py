"""Whether particles start in the box, which reflects those that do not."""

import warnings
from typing import Any

from torch import Tensor

from pdekit import checks
from pdekit.errors import TruncationWarning

_LOST = 0.01  # of the particles


def check_start_in_box(dynamics: Any, initial: Any, x: Tensor) -> None:
    """``ValueError`` for a law with less than half of its mass in the box, as by ``solve``.

    Warns where more than a hundredth of a law, or half of given positions, which may be meant to
    be reflected, starts beyond walls. ``x`` are some of the positions (n, d).
    """
    box = getattr(dynamics, "box", None)
    if box is None or all(box.periodic):
        return
    law = callable(getattr(initial, "mass", None))
    inside = float(initial.mass(box)) if law else _share_inside(x, box)
    ends = f"[{box.lower}, {box.upper}]"
    if law and inside < 0.5:
        raise ValueError(
            f"the initial law {initial!r} has only {inside:.3g} of its mass inside the box {ends}; "
            "move the law or enlarge the box"
        )
    if 1 - inside > (_LOST if law else 0.5):
        what = f"the initial law {initial!r}" if law else f"initial ({checks.shown(initial)})"
        warnings.warn(
            f"{what} has {1 - inside:.3g} of its mass beyond the box {ends}: particles there "
            "start at their mirror images in its walls, which is another law than the rest that "
            "solve keeps. Enlarge the box, or start within it",
            TruncationWarning,
            stacklevel=3,
        )


def _share_inside(x: Tensor, box: Any) -> float:
    walls = [k for k, wraps in enumerate(box.periodic) if not wraps]
    lower, upper = (x.new_tensor(ends)[walls] for ends in (box.lower, box.upper))
    # a wall, as other numbers near it, rounds in single precision
    slack = 1e-6 * (upper - lower)
    inside = (x[:, walls] >= lower - slack) & (x[:, walls] <= upper + slack)
    return float(inside.all(-1).double().mean())
