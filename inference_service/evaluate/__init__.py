"""Measures the built-in models on recordings: `python -m inference_service.evaluate FOLDER`."""
