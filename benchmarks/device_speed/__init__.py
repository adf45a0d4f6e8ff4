"""Stage times of a bundle and PyTorch on each device, measured in alternating rounds.

May import `emo_edge.benchmarks.runner` and the layers below it; not `peers` or `studies`.
"""
