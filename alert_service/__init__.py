"""Alerts: what needs somebody's attention, who has been told, who took it, and how it ended."""
