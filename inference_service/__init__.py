"""Inference service: windows of vital signs and ECG become findings, episodes and alarm candidates."""
