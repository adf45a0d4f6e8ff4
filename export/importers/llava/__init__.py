"""LLaVA and the models built on it to one checkpoint: LLaVA-1.5, its tunes, EmoLA.

May import `emo_edge.export.importers` and the layers below it.
"""
