"""The configuration's schema: every key once, how text becomes a value, and which values exclude each other."""
