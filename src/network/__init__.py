"""DenseNet: its description (`architecture.py`), the network itself (`densenet.py`) and its dropout (`dropout.py`)."""
