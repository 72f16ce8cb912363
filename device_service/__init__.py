"""Devices, to whom they are assigned, and the signal streams that they produce."""
