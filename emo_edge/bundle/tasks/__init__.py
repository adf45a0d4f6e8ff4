"""Affective tasks as data of a bundle: their section of the manifest, and the prompts of GPT4Affectivity.

May import `emo_edge.utils`, `emo_edge.taxonomy` and every layer below them.
"""
