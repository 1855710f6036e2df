"""Exact solutions, for tests and comparison."""
