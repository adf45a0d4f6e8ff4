"""Vision towers that llama.cpp's libmtmd runs: an mmproj file beside a language model."""
