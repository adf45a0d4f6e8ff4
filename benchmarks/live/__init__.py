"""Rate and age of live results: ``python -m emo_edge.benchmarks.live BUNDLE``, beside a plain loop of OpenCV.

May import the device's side, `emo_edge.benchmarks.synthetic` and `emo_edge.benchmarks.measure`.
"""
