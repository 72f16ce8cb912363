"""Notifications: who is told about an alarm, through which channel, and whether it arrived."""
