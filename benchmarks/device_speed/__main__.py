"""``python -m emo_edge.benchmarks.device_speed``."""

from emo_edge.benchmarks.device_speed.run import main

if __name__ == "__main__":
    main()
