"""Steps of Bellman equations."""
