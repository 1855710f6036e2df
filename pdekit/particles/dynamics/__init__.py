"""The algorithms: one file each, with its own fast step."""
