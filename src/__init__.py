"""DenseNet for MindSpore. Importing this package sets the CPU convolution path, whatever the entry point.

MindSpore 2.10's bundled oneDNN runs every k x k convolution as unoptimised reference code when it may use AVX-512;
limited to AVX2 it takes its `gemm:jit` path, about seven times faster for a DenseNet training step. oneDNN reads
the variable once, at the first operator, so it has to be set here and not in a function. A value set by the user wins.
"""

import os

os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX2")
