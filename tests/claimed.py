"""What a study asserts of results."""

from typing import Any


def failing(study: Any, results: Any) -> list[str]:
    """The claims that do not hold."""
    return [claim.text for claim in study.claims(results) if not claim.holds]
