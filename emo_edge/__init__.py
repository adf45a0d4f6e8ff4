"""Take a full-precision facial-emotion multimodal LLM to the edge, with proof of what it cost."""

__version__ = "0.1.0"
