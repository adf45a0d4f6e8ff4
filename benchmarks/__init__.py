"""Synthetic faces, accuracy and latency: compared with the full-precision model."""
