"""TensorRT: bindings, builds, the engine cache and its fingerprint, the session.

May import `emo_edge.runtimes.base` and the layers below it; no other engine.
"""
