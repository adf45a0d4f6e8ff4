"""Prompts in a context of llama.cpp: their positions, what is computed of them, and the questions kept beside them."""
