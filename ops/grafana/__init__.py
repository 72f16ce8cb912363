"""Grafana: provisioning, and the dashboards as code."""
