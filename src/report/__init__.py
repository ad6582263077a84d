"""One page that says how good a network is, where it errs and what it is."""
