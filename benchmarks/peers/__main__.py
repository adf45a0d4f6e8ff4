"""``python -m emo_edge.benchmarks.peers``."""

from emo_edge.benchmarks.peers.run import main

if __name__ == "__main__":
    main()
