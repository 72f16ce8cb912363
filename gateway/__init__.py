"""The only door of the suite: identity, permission, limits and routing in front of eleven services."""
