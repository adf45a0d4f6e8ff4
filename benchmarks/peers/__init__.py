"""A bundle and its peers in one run: PyTorch, llama.cpp, OpenVINO, optimum; resizing beside PIL.

May import `emo_edge.benchmarks.runner` and the layers below it; not `device_speed` or `studies`.
"""
