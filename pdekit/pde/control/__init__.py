"""Control and games: the value function and the density it moves."""
