"""Control and games: the value function and the density under its control."""
