"""Functions of bare arrays that compute; they have never heard of an equation."""
