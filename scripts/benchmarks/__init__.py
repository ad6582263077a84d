"""The parts of scripts/benchmark.py: what is measured, the processes that do it, the machine, and the report."""
