"""Learning rates as pure functions of the training step."""
