"""Organisations: who runs a ward with HeartGuard, by which rules, and whom to call there."""
