"""``emo-edge bench`` on drawings whose truth is no label: action units, micro-expressions, pulses.

May import `emo_edge.benchmarks.affective`, `affective_tasks`, `pulse` and the layers below them.
"""
