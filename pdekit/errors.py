"""What pdekit raises beside ``ValueError`` and ``TypeError``."""


class ConvergenceError(RuntimeError):
    """A computation did not reach its tolerance; no answer is returned."""


class TruncationWarning(UserWarning):
    """Mass, or a minimiser, reaches the boundary of the box, so the box decides the answer."""
