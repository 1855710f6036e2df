"""Which tests are slow: writes slow.txt, one test function a line.

    pytest --junitxml=times.xml
    python tests/slow.py times.xml

A function is slow that takes longer than ``LONGEST`` with all its parameters, as is every row of
random problems. ``pytest -m "not slow"`` then runs the rest, in less than a minute on one core.
"""

import sys
from collections import defaultdict
from pathlib import Path
from xml.etree import ElementTree

LONGEST = 0.2  # seconds


def functions(times: Path) -> dict[str, float]:
    """Seconds of every test function."""
    found: dict[str, float] = defaultdict(float)
    for case in ElementTree.parse(times).iter("testcase"):
        module = case.get("classname", "").rsplit(".", 1)[-1]
        found[f"{module}::{case.get('name', '').split('[')[0]}"] += float(case.get("time", 0))
    return found


if __name__ == "__main__":
    slow = sorted(name for name, took in functions(Path(sys.argv[1])).items() if took > LONGEST)
    (Path(__file__).parent / "slow.txt").write_text("\n".join(slow) + "\n")
    print(f"{len(slow)} slow functions")
