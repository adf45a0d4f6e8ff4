"""`emo-edge calibrate` as a library: configuration, stages (prepare, language, graphs, assemble), profiles, report.

May import `emo_edge.export`, the other parts of `emo_edge.calibration` and the layers below them.
"""
