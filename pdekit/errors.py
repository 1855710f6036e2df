"""What pdekit raises beside ``ValueError`` and ``TypeError``."""


class ConvergenceError(RuntimeError):
    """A computation did not reach its tolerance; no answer is returned."""


class FieldError(ValueError):
    """A user's function inside a value of pdekit fails, or has wrong values; it is named."""


class AccuracyWarning(UserWarning):
    """The answer may be further from the truth than its own estimate or tolerance says."""


class ResolutionWarning(UserWarning):
    """The grid is too coarse for what it carries, so the scheme is only of first order there."""


class TruncationWarning(UserWarning):
    """Mass, or a minimiser, reaches the boundary of the box, so the result depends on the box."""
