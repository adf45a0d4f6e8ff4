"""Networks that detect action units, and their losses: SACL-AU on a face trunk, AUFormer on a vision tower, ME-GraphAU.

The first two are reconstructions: neither network's code or weights were ever published. May import
`emo_edge.export.models`.
"""
