"""Stationary states, rates and first passage."""
