"""llama.cpp: the library, its session, prompt batches, sampling, repacking, token embeddings.

May import `emo_edge.runtimes.base` and the layers below it; no other engine.
"""
