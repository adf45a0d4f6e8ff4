"""Small VLMs with random weights in the files that llama.cpp reads: a GGUF and its mmproj.

transformers' own classes hold the weights; names and keys are those that llama.cpp's converter gives them. So the
files have the true structure of their family, and transformers says what they compute. Their answers are noise.
"""
