"""Labels by the number of visual tokens: ``python -m emo_edge.benchmarks.visual_tokens CHECKPOINT``.

Each number of tokens is compared with all of them, full precision both, on drawings that no training has seen.
"""

from __future__ import annotations

from pathlib import Path

import click

from emo_edge.benchmarks.emo_tiny.samples import HELD_OUT_SEED, synthetic_samples
from emo_edge.console.commands import EdgeCommand
from emo_edge.console.progress import shown_reports
from emo_edge.console.terminal import echo
from emo_edge.errors import InputError
from emo_edge.export.bundles.visual_tokens import FRACTIONS, GATE, BudgetTrial, budget_problems, candidates
from emo_edge.export.models.token_selection import merged_tokens
from emo_edge.export.reference.model import EmoLlamaForConditionalGeneration
from emo_edge.machine.cpus import usable_cpus
from emo_edge.machine.summary import describe_machine
from emo_edge.utils.files import write_json

MORE_FRACTIONS = (*FRACTIONS, 1 / 4, 3 / 4, 1.0)
"""Of all patches that are measured."""


def row(count: int, patches: int, evidence: dict[str, float]) -> str:
    """Write a line of the table."""
    agreement = f"{evidence['label_agreement']:.4f} ({evidence['label_agreement_low']:.4f} to "
    agreement += f"{evidence['label_agreement_high']:.4f})"
    delta = f"{evidence['uar_delta']:+.4f} ({evidence['uar_delta_low']:+.4f} to {evidence['uar_delta_high']:+.4f})"
    holds = "no" if GATE.failures(evidence) else "yes"
    divergence, recall = f"{evidence['kl_mean']:.1e}", f"{evidence['uar']:.4f}"
    cells = [f"{count} of {patches}", str(merged_tokens(count)), agreement, divergence, recall, delta, holds]
    return f"| {' | '.join(cells)} |"


@click.command(cls=EdgeCommand)
@click.argument("checkpoint", type=click.Path(exists=True, path_type=Path))
@click.option("--samples", type=click.IntRange(2), default=2000, show_default=True, help="Number of held-out drawings.")
@click.option("--labels", default="rafdb7", show_default=True, help="Label set.")
@click.option("--json", "target", type=click.Path(path_type=Path), help="File of every figure.")
def main(checkpoint: Path, samples: int, labels: str, target: Path | None) -> None:
    """Compare labels of CHECKPOINT with fewer visual tokens with those with all of them."""
    model = EmoLlamaForConditionalGeneration.from_pretrained(checkpoint)
    if problems := budget_problems("auto", model.config):
        raise InputError(problems[0])
    drawings = synthetic_samples(samples, HELD_OUT_SEED, workers=usable_cpus())
    patches = model.config.vision.grid**2
    with shown_reports() as reports:
        trial = BudgetTrial(model, drawings, labels, reports)
        counts = sorted({*candidates(patches), *(round(patches * fraction) for fraction in MORE_FRACTIONS)})
        measured = {count: trial.evidence(count) for count in counts}
    if target:
        write_json(target, {"machine": describe_machine(), "gate": str(GATE), "rows": measured})
    echo(f"{samples} drawings, label set {labels}; the gate is {GATE}\n")
    echo("| visual tokens | merged | label agreement (95 %) | mean KL | UAR | difference of UAR (95 %) | holds |")
    echo("|---|---|---|---|---|---|---|")
    for count, evidence in measured.items():
        echo(row(count, patches, evidence))


if __name__ == "__main__":
    main()
