"""What this machine has and what this project will do on it: `python -m src.doctor`.

Nothing here imports MindSpore or NumPy: a machine on which they cannot be imported is one of those to be looked at.
"""
