"""The full-precision reference model, and what turns a checkpoint into a bundle."""
