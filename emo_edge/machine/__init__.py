"""Facts about this machine: hardware, Jetson modules, versions of packages, a summary in one line.

May import `emo_edge.utils`, `emo_edge.metrics` and the modules below them; not `emo_edge.media`.
"""
