"""Read a folder of pictures into a table, one row a face: python examples/folder_to_csv.py BUNDLE FOLDER TABLE.csv.

A picture without a face, or that cannot be read, is a row without a label.
"""

import csv
import sys

import emo_edge

bundle, folder, table = sys.argv[1:]
with emo_edge.EmotionPipeline.open(bundle) as pipeline:
    results = list(emo_edge.stream(pipeline, folder))

for result in results:
    if result.error:
        print(f"{result.source}: {result.error}", file=sys.stderr)

# With pandas: pandas.DataFrame(emo_edge.rows(results)).to_csv(table)
rows = emo_edge.rows(results)
with open(table, "w", newline="", encoding="utf-8") as file:
    writer = csv.DictWriter(file, rows[0].keys() if rows else ())
    writer.writeheader()
    writer.writerows(rows)
print(f"{len(rows)} rows of {len(results)} pictures in {table}")
