"""Self-consistent states of mean-field equations and their transitions."""
