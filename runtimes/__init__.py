"""One file per engine: the runtimes behind the tensor and language session protocols."""
