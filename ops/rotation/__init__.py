"""New keys and passwords for a running suite, in either runtime."""
