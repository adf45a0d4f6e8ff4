"""Tokenizers of upstream models: their files, and the vocabularies that a checkpoint carries."""
