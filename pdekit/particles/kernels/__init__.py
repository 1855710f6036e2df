"""Functions of bare arrays that move particles."""
