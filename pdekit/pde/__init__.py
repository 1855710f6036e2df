"""Partial differential equations: statements, generators, schemes and the verb ``solve``."""
