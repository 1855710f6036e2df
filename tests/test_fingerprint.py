"""What a fingerprint tells of values that are easily confused."""

import numpy as np
import pytest

from pdekit.particles.run import fingerprint as prints
from pdekit.particles.run.fingerprint import fingerprint


def test_whole_numbers_of_any_length_are_told_apart() -> None:
    """Python writes no number of 5,000 digits in decimals."""
    values = (10**5000, 10**5000 + 1, -(10**5000), 1 << 65, (1 << 65) + 1)
    assert len({fingerprint(x=value)["x"] for value in values}) == len(values)


class Wrapper:
    """As torch's compiled modules have it, an attribute ``_orig_mod``."""

    def __init__(self, rate: float) -> None:
        self._orig_mod, self.rate = 1.0, rate


def test_an_attribute_named_as_torch_names_one_hides_no_other() -> None:
    assert fingerprint(x=Wrapper(0.1)) != fingerprint(x=Wrapper(0.2))


def made() -> type:
    class Force:
        rate = np.float64(0.5)

    return Force


def test_classes_that_share_their_name_are_numbered() -> None:
    told = "\n".join(f"{k} {v}" for k, v in fingerprint(x=[made() for _ in range(3)]).items())
    assert "Force (2)" in told and "Force (3)" in told
    assert "Force (1)" not in told and "Force (4)" not in told


def test_the_most_parts_are_still_included(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = [1.0, 2.0, 3.0]
    parts = len(fingerprint(x=numbers))
    monkeypatch.setattr(prints, "_MOST", parts - 1)
    assert len(fingerprint(x=numbers)) == parts
    monkeypatch.setattr(prints, "_MOST", parts - 2)
    with pytest.raises(prints.Indescribable, match="has more than"):
        fingerprint(x=numbers)
