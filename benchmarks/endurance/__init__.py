"""Long trials of the whole program: kills at random moments, many frames, many openings.

``python -m emo_edge.benchmarks.endurance`` lists them. They take minutes to hours; the tests run short ones.
"""
