"""Signal processing: pure functions on NumPy arrays, no clinical limit and no I/O."""
