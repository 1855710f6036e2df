"""The dynamics: one file per algorithm, with its own fast step."""
