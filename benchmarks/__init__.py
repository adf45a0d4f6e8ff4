"""Synthetic faces, accuracy and latency: the numbers beside the full-precision model."""
