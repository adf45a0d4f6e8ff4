"""LLaVA and its relatives to one checkpoint: LLaVA-1.5, its tunes, EmoLA, MobileVLM; InstructBLIP.

May import `emo_edge.export.importers` and the layers below it.
"""
