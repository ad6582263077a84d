"""A page on this machine to try a model with one's own pictures."""
