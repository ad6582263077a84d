"""Training and evaluation: the step, the loop, what a run leaves behind."""
