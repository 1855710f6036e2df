"""``python -m pdekit``."""

from pdekit.cli import main

main()
