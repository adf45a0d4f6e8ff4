"""``emo-edge export-triton``: a bundle as a model repository of Triton."""

from __future__ import annotations

from pathlib import Path

import click

from emo_edge.bundle.label_sets import typed_labels
from emo_edge.bundle.reader import Bundle
from emo_edge.cli.completion import complete_bundle, complete_labels, complete_profile
from emo_edge.cli.packaged_bundle import bundle_directory
from emo_edge.console.choices import NameChoice
from emo_edge.console.commands import EdgeCommand
from emo_edge.console.terminal import echo
from emo_edge.export.triton.config import config_text
from emo_edge.export.triton.repository import RepositorySettings, require_free, write_repository
from emo_edge.runtimes.base.device_names import DEVICES


@click.command(cls=EdgeCommand)
@click.argument("bundle", type=click.Path(path_type=Path), shell_complete=complete_bundle)
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="Folder of the repository; it must not exist yet."
)
@click.option(
    "--profile", shell_complete=complete_profile, help="One of the bundle's profiles; the default is the bundle's."
)
@click.option(
    "--device",
    type=NameChoice(DEVICES),
    default="auto",
    show_default=True,
    help="Device on which the server's Python model runs its engines.",
)
@click.option(
    "--labels",
    show_default="rafdb7, or the bundle's own",
    shell_complete=complete_labels,
    help="Label set of the bundle, or your own: joy,fear,rage.",
)
@click.option(
    "--plans",
    is_flag=True,
    help="Take the TensorRT engines that emo-edge engines build made on this machine, instead of ONNX.",
)
@click.option("--overwrite", is_flag=True, help="Replace a repository that this command wrote, as a whole.")
def main(
    bundle: Path, out: Path, profile: str | None, device: str, labels: str | None, plans: bool, overwrite: bool
) -> None:
    """Write BUNDLE as a model repository of NVIDIA's Triton server.

    Each graph becomes a model, and the whole pipeline becomes the Python model emo_edge, which takes pictures and gives
    labels, boxes and JSON. The configs are parsed as Triton parses them. Needs the extra triton.
    """
    require_free(out, overwrite=overwrite)
    config_text({})
    settings = RepositorySettings(profile, typed_labels(labels), device, plans)
    opened = Bundle.open(bundle_directory(bundle))
    write_repository(opened, out, settings, lambda line: echo(line, err=True), overwrite=overwrite)
    echo(out)
