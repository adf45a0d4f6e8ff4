"""emo-tiny's model card: what it is, what it must not be used for, and the figures one command printed."""

from __future__ import annotations

from typing import Any

CARD = """\
# emo-tiny

A demonstration model of the emo-edge toolkit: the EMO-LLaMA architecture at toy size, trained on drawings.

**It has never seen a photograph of a person.** Its training data are procedural drawings
(`emo_edge.benchmarks.synthetic.generator`). It exists so that every command of the toolkit works the minute it is
installed, and so that tests measure a really trained model instead of random weights.

## Must not be used for

- reading the emotion, age, gender or race of real people, in photographs, videos or camera pictures;
- any decision about a person: hiring, schooling, policing, border control, health, insurance, advertising;
- claims about the accuracy of EMO-LLaMA or of any model trained on faces: a score on drawings says nothing
  about them. Results of one precision against another on this model show what the toolkit does, no more.

## What it is

| part | what | parameters |
|---|---|---|
{parts}

Float32, {megabytes:.1f} MB of safetensors. The names of age bins, genders and race groups are those of
FaceXFormer's output rows. In the drawings they are clusters of drawing parameters (palette, proportions, hair);
they describe nobody. Face Info Mining is this project's reconstruction: EMO-LLaMA's own was never released.
So is SACL, after the description of SACL-AU (arXiv 2308.07770), of which no code or weights were published.

## How it was trained

`python -m emo_edge.benchmarks.emo_tiny.train --out runs/emo-tiny` renders the drawings, trains the face network,
the vision tower (each under a probe that is thrown away) and then connector, Face Info Mining and LLaMA on
instruction pairs about images and clips, with both networks frozen. A quarter of the faces, held-out ones too, is
partly covered: by a hand, a mask, a scarf, a bar, a strand of hair or sunglasses; in a clip they come and go.
Then `python -m emo_edge.benchmarks.action_units.train --checkpoint runs/emo-tiny/checkpoint --out runs/units` trains
the action units on the trunk, which stays as it is, and chooses the threshold of each unit on drawings of their own.
`training_log.jsonl` beside this file is the log of both runs: machines, plans and losses.

## What it reaches

Printed by `python -m emo_edge.benchmarks.emo_tiny.evaluate`; `evaluation.json` keeps every sample's answers. The
ablations leave tokens out of the prompt of this same model; nothing was trained again.

{table}

## Licence

Apache-2.0, weights included: they derive from the toolkit's own drawings alone.
"""

PARTS = {
    "vision": "EVA ViT, class token kept, no final norm",
    "connector": "question-conditioned Q-Former, context token, 2 x 2 content tokens, two-layer projector",
    "face": "FaceXFormer: Swin trunk, fused map, two-way decoder, eight outputs",
    "units": "SACL (reconstruction): 17 action units and their intensities on the trunk of `face`",
    "face_info": "Face Info Mining (reconstruction): four face tokens",
    "language": "LLaMA, four layers, hidden size 256",
}


def model_card(report: dict[str, Any], table: str) -> str:
    """Fill the card from an evaluation report (its ``parameters`` entry counts each part)."""
    counts: dict[str, int] = report["parameters"]
    parts = "\n".join(f"| `{name}` | {PARTS[name]} | {count:,} |" for name, count in counts.items())
    return CARD.format(parts=parts, megabytes=4 * sum(counts.values()) / 1e6, table=table)
