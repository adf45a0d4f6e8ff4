"""VLMs in llama.cpp's own files, GGUF and mmproj, to a bundle: nothing is converted, everything is checked.

May import `emo_edge.export.bundles` and the layers below it.
"""
