"""Every certificate over random landscapes, temperatures and starts, on the line and in the plane.

A row of ``certificate_cases`` suffices to put a certificate under this test: it must apply and pass
where the solver is right, and fail for every planted fault.
"""

from pathlib import Path
from typing import Any

import pytest
from certificate_cases import CERTIFICATES, Row
from hypothesis import Phase, given, settings
from random_settings import settings_of

from pdekit import certificates as c

TABLE = Path(__file__).with_name("certificate_cases.py")
CASES = [(row, dim) for row in CERTIFICATES for dim in row.dims]


@pytest.mark.filterwarnings("ignore::pdekit.TruncationWarning")  # a box of its own right
@pytest.mark.filterwarnings("ignore::pdekit.ResolutionWarning")
@pytest.mark.parametrize(("row", "dim"), CASES, ids=lambda v: getattr(v, "name", v))
def test_right_passes_and_wrong_fails(row: Row, dim: int) -> None:
    examples = row.examples if dim == 1 else max(row.examples // 4, 2)

    # not shrunk: a failing setting is named as it is, and solving it again is dear
    @given(setting=settings_of(dim, row.convex))
    @settings(max_examples=examples, phases=(Phase.generate,))
    def check(setting: Any) -> None:
        certificate, result = row.right(setting)
        found = certificate(result)
        assert found.passed is True, f"{setting}\n{found}"
        for name, fault in row.faults.items():
            certificate_of_fault, broken = fault(setting, certificate, result)
            seen = certificate_of_fault(broken)
            assert seen.passed is False, f"{name}: {setting}\n{seen}"

    check()


def test_the_table_has_every_certificate_and_200_examples_on_the_line() -> None:
    here = (TABLE).read_text()
    assert [name for name in c.__all__ if name[0].isupper() and f"c.{name}" not in here] == [
        "Certificate",
        "Certificates",
    ]
    assert sum(row.examples for row in CERTIFICATES if 1 in row.dims) >= 200
