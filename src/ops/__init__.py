"""A DenseNet as C++ operators for CPUs: the sources in `cpp`, how they are compiled, and the MindSpore side."""
