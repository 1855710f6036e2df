"""One simulation: its loop, checkpoints, and division among threads and ranks."""
