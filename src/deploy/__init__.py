"""From a trained checkpoint to other runtimes, and from other frameworks' weights to a checkpoint."""

import os

# Read when ONNX Runtime is imported: it would report every session to its makers, and leave a file in the temporary
# folder.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
