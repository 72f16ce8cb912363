"""Runs the whole suite on one machine without containers."""
