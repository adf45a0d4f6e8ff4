"""Write the model repository: beside its name, verified, then renamed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from emo_edge.bundle.label_sets import resolve_labels
from emo_edge.bundle.manifest import MANIFEST_NAME, BundleFile
from emo_edge.bundle.reader import Bundle, profile_of
from emo_edge.errors import BundleError, InputError
from emo_edge.export.triton.config import config_text, graph_config, pipeline_config
from emo_edge.export.triton.contract import BUNDLE, MODEL
from emo_edge.export.triton.plans import cached_plan, this_machine
from emo_edge.export.triton.written import require_written, write_listing
from emo_edge.runtimes.tensorrt.engine_cache import EngineCache
from emo_edge.storage.directories import put_in_place, restored
from emo_edge.storage.locks import FileLock, lock_path
from emo_edge.storage.output_paths import require_output
from emo_edge.utils.files import partial_path, replace_text, require_disk_space, sha256_of, sync

HINT = ", or `overwrite`"
VERSION = "1"
"""Folder of each model's only version."""
CONFIG = "config.pbtxt"
MODEL_CODE = '''"""Triton's model of emo-edge. The server's Python needs emo-edge."""

from emo_edge.export.triton.server_model import TritonPythonModel

__all__ = ["TritonPythonModel"]
'''


@dataclass(frozen=True)
class RepositorySettings:
    """Choices of a repository."""

    profile: str | None = None
    """One of the bundle's; None takes its default."""
    labels: str | tuple[str, ...] | None = None
    """As in `Request`."""
    device: str = "auto"
    """Device of the Python model."""
    plans: bool = False
    """Take TensorRT plans of this machine's cache instead of ONNX."""


def write_repository(
    bundle: Bundle,
    target: Path,
    settings: RepositorySettings,
    report: Callable[[str], None] = lambda line: None,
    *,
    overwrite: bool = False,
) -> None:
    """Write the models of a bundle to ``target``, which must not exist yet, or be an empty folder.

    With ``overwrite`` it may be a repository that this function wrote, as it wrote it and with nothing else in it.

    Every copy is compared with the manifest's sha256. ``report`` gets a line for each model. Raises InputError for a
    place that is taken or cannot be written, BundleError for a file that is not the manifest's, MissingExtraError
    without tritonclient, DeviceError where a plan is wanted and there is none.
    """
    require_free(target, overwrite=overwrite)
    target = target.absolute()
    partial = partial_path(target)
    try:
        partial.mkdir(parents=True)
        require_disk_space(partial, 2 * sum(file.size for file in bundle.manifest.files()))
        _Writer(bundle, partial, settings, report).write()
        write_listing(partial)
        _put(partial, target, overwrite=overwrite)
    except OSError as error:
        raise InputError(f"{target}: cannot be written ({error.strerror}); choose another place") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def require_free(target: Path, *, overwrite: bool) -> None:
    """Raise InputError where no repository can be written: neither nothing nor an empty folder is there.

    With ``overwrite`` a repository of ours may be there.
    """
    require_output(target)
    if not os.path.lexists(target):
        return
    folder = target.is_dir() and not target.is_symlink()
    if folder and not any(target.iterdir()):
        return
    if not (folder and overwrite):
        raise InputError(f"{target}: already there; give another name, or remove it{'' if overwrite else HINT}")
    require_written(target)


def _put(partial: Path, target: Path, *, overwrite: bool) -> None:
    """Exchange a finished repository for what is there, which may have changed meanwhile."""
    lock = FileLock(lock_path(target))
    lock.wait()
    with closing(lock):
        restored(target)
        try:
            require_free(target, overwrite=overwrite)
        except InputError as error:
            raise InputError(f"{target}: cannot be written ({error})") from error
        old = put_in_place(partial, target)
        if old:
            shutil.rmtree(old, ignore_errors=True)


class _Writer:
    """One repository in the making."""

    def __init__(self, bundle: Bundle, root: Path, settings: RepositorySettings, report: Callable[[str], None]) -> None:
        self._bundle, self._root, self._settings, self._report = bundle, root, settings, report
        self._rows = bundle.manifest.engines.rows.most

    def write(self) -> None:
        """Write the graphs of the profile, and the pipeline."""
        name, profile = profile_of(self._bundle, self._settings.profile)
        machine = this_machine() if self._settings.plans else None
        for part, graph in self._bundle.manifest.components.graphs().items():
            variant = profile.variant(part)
            assert variant is not None  # of every component there is
            folder = self._folder(part)
            if machine is None:
                files = graph.variants[variant].files
                config = graph_config(part, graph, self._rows, Path(files[0].path).name, "onnxruntime_onnx")
                self._copy_graph(files, folder)
            else:
                plan, entry, rows = cached_plan(self._bundle, part, graph, variant, machine, EngineCache())
                config = graph_config(part, graph, rows, "model.plan", "tensorrt_plan")
                _copy(plan, folder / "model.plan", entry.sha256)
            self._write_config(part, config)
            self._report(f"{part}: {variant}, {config['platform']}")
        self._write_pipeline(name)

    def _write_pipeline(self, profile: str) -> None:
        manifest, asked = self._bundle.manifest, self._settings.labels
        labels = resolve_labels(manifest, asked) if asked or manifest.label_sets else ()
        named = (asked,) if isinstance(asked, str) else asked or ()
        folder = self._folder(MODEL)
        for file in manifest.files():
            _copy(self._bundle.directory / file.path, folder / BUNDLE / file.path, file.sha256)
        (folder / BUNDLE / MANIFEST_NAME).write_bytes((self._bundle.directory / MANIFEST_NAME).read_bytes())
        replace_text(folder / "model.py", MODEL_CODE)
        self._write_config(MODEL, pipeline_config(profile, self._settings.device, named, labels, self._rows))
        self._report(f"{MODEL}: {profile}, python")

    def _copy_graph(self, files: tuple[BundleFile, ...], folder: Path) -> None:
        """Copy a graph and the files of its weights, which it names relative to its own folder."""
        home = Path(files[0].path).parent
        for file in files:
            try:
                name = Path(file.path).relative_to(home)
            except ValueError as error:
                raise BundleError(
                    f"{file.path}: above the graph {files[0].path} that opens it; export it again"
                ) from error
            _copy(self._bundle.directory / file.path, folder / name, file.sha256)

    def _folder(self, model: str) -> Path:
        folder = self._root / model / VERSION
        folder.mkdir(parents=True)
        return folder

    def _write_config(self, model: str, config: dict[str, object]) -> None:
        replace_text(self._root / model / CONFIG, config_text(config))


def _copy(source: Path, target: Path, sha256: str) -> None:
    """Copy a file; raise BundleError for one whose copy has another hash."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    sync(target)
    if sha256_of(target) != sha256:
        raise BundleError(f"{source}: its content is not what the manifest's sha256 says; copy or export it again")
