"""Starting the ranks of one job on this host, watching them, and ending them together."""
