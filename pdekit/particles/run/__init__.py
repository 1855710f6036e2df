"""One run: its loop, its files, its division among threads and ranks."""
