"""Backups of the whole suite: made while it runs, restored into an empty one."""
