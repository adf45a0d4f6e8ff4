"""Drawn faces with one micro-expression: brief, weak, and with its frames known.

May import `emo_edge.benchmarks.synthetic.pulse` and every layer below it.
"""
