"""Evidence of the affective tasks, on drawings: ``python -m emo_edge.benchmarks.affective_tasks BUNDLE``.

Judgements by yes and no and by the choice, compound expressions, and answers that carry a measured heart rate. May
import
`emo_edge.benchmarks.report` and every layer below it.
"""
