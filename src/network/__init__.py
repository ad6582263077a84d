"""DenseNet: its description (`architecture.py`) and the network (`densenet.py`), with dropout and recomputation."""
