"""What ``work_precision`` measures: the problems, and how each package solves them."""
