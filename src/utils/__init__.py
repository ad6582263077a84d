"""What the rest of the code rests on: errors, logging, initialisers, checkpoints. Imports nothing from src above it."""
