"""`emo-edge plan`."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import click

from emo_edge.bundle.model_shape import SHAPES
from emo_edge.cli.completion import complete_labels, complete_profile, complete_subject
from emo_edge.console.choices import THREADS, NameChoice
from emo_edge.console.commands import EdgeCommand
from emo_edge.console.terminal import echo
from emo_edge.planning.device_catalogue import CATALOGUE, THIS
from emo_edge.utils.byte_sizes import size_of


@click.command(cls=EdgeCommand)
@click.argument("subject", metavar=f"BUNDLE|{'|'.join(SHAPES)}", shell_complete=complete_subject)
@click.option(
    "--device", type=NameChoice([*CATALOGUE, THIS]), default=THIS, show_default=True, help="Device to plan for."
)
@click.option("--context", type=click.IntRange(1), help="Positions of prompt and answer (default: what they need).")
@click.option("--faces", type=click.IntRange(1), default=1, show_default=True, help="Number of faces at once.")
@click.option("--frames", type=click.IntRange(1), default=1, show_default=True, help="Number of frames of a clip.")
@click.option(
    "--labels", default="rafdb7", show_default=True, shell_complete=complete_labels, help="Label set that is scored."
)
@click.option(
    "--describe-tokens",
    type=click.IntRange(1),
    default=64,
    show_default=True,
    help="Length of a description in tokens.",
)
@click.option("--profile", shell_complete=complete_profile, help="Plan this profile alone.")
@click.option("--max-memory", help="Memory that may be used, such as 4GB (default: what the device leaves).")
@click.option("--max-latency-ms", type=click.FloatRange(0, min_open=True), help="Longest time from frames to labels.")
@click.option("--threads", type=THREADS, help="Number of threads of each engine.")
@click.option("--json", "as_json", is_flag=True, help="Print the plan as JSON.")
def main(
    subject: str,
    device: str,
    profile: str | None,
    max_memory: str | None,
    threads: int | None,
    as_json: bool,
    **counts: Any,
) -> None:
    """Estimate whether BUNDLE, or a model of known sizes, fits a device, and how long each stage takes there.

    Times on "this" come from rates that are measured here with probes, those on any other device from its
    documents: a range, estimated, not measured. Ends with 6 where nothing fits or no profile is fast enough.
    """
    from emo_edge.assets.packaged import packaged_names
    from emo_edge.cli.packaged_bundle import bundle_directory
    from emo_edge.planning.advice import require_choice
    from emo_edge.planning.capacity_plan import PlanRequest
    from emo_edge.planning.models import open_subject
    from emo_edge.planning.planner import make_plan
    from emo_edge.planning.probes.machine import device_for
    from emo_edge.planning.text import plan_text

    request = PlanRequest(max_memory=float(size_of(max_memory)) if max_memory else None, **counts)
    packaged = subject in packaged_names() and subject not in SHAPES
    model = open_subject(str(bundle_directory(Path(subject))) if packaged else subject)
    profiles = (profile,) if profile else None
    target = device_for(model, device, profile=profile, threads=threads, report=partial(echo, err=True))
    plan = make_plan(model, target, request, profiles)
    echo(json.dumps(plan.to_dict(), indent=2, allow_nan=False) if as_json else plan_text(plan))
    require_choice(model, target, plan, profiles)
