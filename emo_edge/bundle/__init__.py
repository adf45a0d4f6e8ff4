"""The bundle format: manifest, reader, writer, prompts, headers of GGUF and imatrix files.

May import `emo_edge.faces`, `emo_edge.assets` and the layers below them.
"""
