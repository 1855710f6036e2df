"""Compiled functions of plain arrays, independent of equations."""
