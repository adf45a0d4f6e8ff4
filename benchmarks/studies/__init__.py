"""Studies behind single tables of the documentation: compression, INT8, converters, memory, full size.

May import `emo_edge.benchmarks.runner` and the layers below it; not `device_speed` or `peers`.
"""
