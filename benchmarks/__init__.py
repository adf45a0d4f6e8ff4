"""Synthetic faces, accuracy and latency: compared with the full-precision model."""

from emo_edge.machine.waiting_threads import limit_spinning

# Its programs load PyTorch, and with it OpenMP's library, before llama.cpp: all of them wait as the command line does.
limit_spinning()
