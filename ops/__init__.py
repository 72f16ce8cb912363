"""What operators need: the native runtime, the demonstration, PostgreSQL set-up."""
