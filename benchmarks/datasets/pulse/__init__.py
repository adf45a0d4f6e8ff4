"""Videos of faces with a measured pulse, in their official layouts, and drawn ones: UBFC-rPPG, PURE, synthetic-pulse.

May import `emo_edge.benchmarks.datasets`, `emo_edge.benchmarks.synthetic.pulse` and the layers below them.
"""
