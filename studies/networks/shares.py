"""How replicas share examples."""

import torch


def windows(examples: int, n: int, share: float) -> list[torch.Tensor]:
    """Of each of n replicas the places, so many of all, on a circle of ``examples``.

    They start at equal distances; if n * share >= 1 they cover the circle (thesis section 5.5).
    """
    places = torch.arange(round(share * examples))
    return [(places + round(a * examples / n)) % examples for a in range(n)]
