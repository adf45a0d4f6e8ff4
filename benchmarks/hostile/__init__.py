"""Campaigns of mutated files against each reader: seeded mutators, bounded trials, one module a kind.

``python -m emo_edge.benchmarks.hostile KIND --seed S --count N``. May import every layer above `emo_edge.cli`.
"""
