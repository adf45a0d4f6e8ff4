"""Open and write bundles. Every byte that a native loader will see is verified first."""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emo_edge.bundle.manifest import MANIFEST_NAME, BundleFile, Manifest, Profile, Variant, manifest_from_json
from emo_edge.errors import BundleError, InputError
from emo_edge.graphs.bounds import check_graph_file
from emo_edge.graphs.onnx_external import external_locations
from emo_edge.storage.directories import read_whole, replaced_path
from emo_edge.utils.cache import read_cached, write_cached
from emo_edge.utils.files import sha256_of
from emo_edge.utils.memory import is_out_of_memory, memory_error
from emo_edge.utils.suggestions import did_you_mean

VERIFIED_NAME = "verified.json"
PLAN_NAME = "plan.sha256"
FINISHED = ".finished.json"
"""Ends the name of a variant's record, next to its files while the bundle is written."""
MANIFEST_LIMIT = 4 << 20
CHECKS = 2
"""Number of the checks that a file passed: one that passed fewer is checked again."""


@dataclass(frozen=True)
class Bundle:
    """A directory whose manifest is well-formed and whose files are those of the manifest."""

    directory: Path
    manifest: Manifest

    @classmethod
    def open(cls, directory: str | Path, *, use_cache: bool = True) -> Bundle:
        """Read the manifest and verify every file: path, kind, size, sha256.

        A file that has not changed since it was last hashed (size, modification time and inode) is not hashed again,
        unless ``use_cache`` is False. A bundle that another process replaces meanwhile is read again from its start.
        Raises BundleError naming every problem.
        """
        return read_whole(Path(directory), lambda root: cls._opened(root, use_cache=use_cache))

    @classmethod
    def _opened(cls, root: Path, *, use_cache: bool) -> Bundle:
        manifest = _manifest_in(root)
        problems = list(_file_problems(root, manifest, use_cache=use_cache))
        if problems:
            listing = "\n".join(f"  {problem}" for problem in problems)
            raise BundleError(f"{root}: {len(problems)} problem(s), copy or export the bundle again:\n{listing}")
        return cls(root, manifest)

    def files(self, variant: Variant) -> list[Path]:
        """Absolute paths of a variant's files, the one to open first."""
        return [(self.directory / file.path).absolute() for file in variant.files]


def verified_again(bundle: Bundle) -> Bundle:
    """Verify the files of a bundle that was opened some time ago, before another engine opens one of them.

    Raises BundleError for a file that changed since, and for another bundle at the same path.
    """
    again = Bundle.open(bundle.directory)
    if again.manifest != bundle.manifest:
        raise BundleError(f"{bundle.directory}: another bundle has replaced it since it was opened: start again")
    return again


def require_unchanged(bundle: Bundle, files: Iterable[BundleFile]) -> None:
    """Raise BundleError for one of some small files that changed since the bundle was opened; hash them all."""
    for file in files:
        path = bundle.directory / file.path
        if path.is_symlink() or not path.is_file() or sha256_of(path) != file.sha256:
            raise BundleError(f"{path}: it has changed since the bundle was opened: start again")


def read_manifest(root: Path) -> Manifest:
    """Read ``root/manifest.json`` without looking at the other files."""
    return read_whole(root, _manifest_in)


def _manifest_in(root: Path) -> Manifest:
    path = root / MANIFEST_NAME
    try:
        if not stat.S_ISREG(path.lstat().st_mode) or path.stat().st_size > MANIFEST_LIMIT:
            raise BundleError(f"{path}: no plain file or larger than {MANIFEST_LIMIT >> 20} MiB, no manifest of ours")
        content = path.read_bytes()
    except FileNotFoundError as error:
        left = replaced_path(root)
        if left.is_dir():
            raise BundleError(f"{root}: its replacement was stopped; run it again, or rename {left} to it") from error
        raise BundleError(f"{path}: no such file; a bundle is a directory that emo-edge export wrote") from error
    except OSError as error:
        raise BundleError(f"{path}: not readable: {error.strerror}") from error
    return manifest_from_json(content)


def _file_problems(root: Path, manifest: Manifest, *, use_cache: bool) -> Iterator[str]:
    known = read_cached(VERIFIED_NAME) if use_cache else {}
    verified = {name: entry for name, entry in known.items() if os.path.exists(name)}
    listed, graphs = {file.path for file in manifest.files()}, _graph_paths(manifest)
    for file in manifest.files():
        key = str((root / file.path).absolute())
        try:
            problem, entry = _verify(root, file, known.get(key), listed, is_graph=file.path in graphs)
            verified |= {} if problem else {key: entry}
        except ValueError as error:
            problem = f"no file that a loader may open: {error}"
        except (OSError, RuntimeError) as error:  # a loop of links is a RuntimeError
            if is_out_of_memory(error):
                raise memory_error(root / file.path, error) from error
            problem = f"cannot be read: {getattr(error, 'strerror', None) or error}"
        if problem:
            yield f"{file.path}: {problem}"
    if verified != known:
        write_cached(VERIFIED_NAME, verified)


def graph_problems(root: Path, manifest: Manifest) -> list[str]:
    """List the graphs that `Bundle.open` would refuse whatever their hashes are, and why."""
    listed, graphs, problems = {file.path for file in manifest.files()}, _graph_paths(manifest), []
    for file in manifest.files():
        if file.path not in graphs:
            continue
        try:
            problem = _reference_problem(file, sorted(external_locations(root / file.path)), listed)
            check_graph_file(root / file.path)
        except ValueError as error:
            problem = f"no file that a loader may open: {error}"
        problems += [f"{file.path}: {problem}"] if problem else []
    return problems


def _graph_paths(manifest: Manifest) -> set[str]:
    variants = [one for graph in manifest.components.graphs().values() for one in graph.variants.values()]
    return {variant.files[0].path for variant in variants} | {file.path for file in manifest.detector_files}


def _verify(
    root: Path, file: BundleFile, known: Any, listed: Set[str], *, is_graph: bool
) -> tuple[str | None, dict[str, Any]]:
    """Return what is wrong with a file, and the cache's entry for it: its signature, and the files that it opens.

    A file whose entry ``known`` has its present signature is neither hashed nor scanned again. Raises ValueError for a
    graph that no engine should load, unless its loader opens what is not ``listed``, which is named first.
    """
    path = root / file.path
    problem = path_problem(root, path) or size_problem(path, file)
    if problem:
        return problem, {}
    signature = [CHECKS, file.sha256, is_graph, *_signature(path)]
    if isinstance(known, dict) and known.get("signature") == signature and _are_names(known.get("opens")):
        return _reference_problem(file, known["opens"], listed), known
    problem = content_problem(path, file)
    opens = sorted(external_locations(path)) if is_graph and not problem else []
    problem = problem or _reference_problem(file, opens, listed)
    if is_graph and not problem:
        check_graph_file(path)
    return problem, {"signature": signature, "opens": opens}


def changed_files(root: Path, manifest: Manifest) -> list[str]:
    """List the files of a manifest that are there with another content than it says; a missing one is none.

    A file that was verified and has not been written since is not hashed again. Raises OSError for one that cannot be
    read.
    """
    known = read_cached(VERIFIED_NAME)
    changed = []
    for file in manifest.files():
        path = root / file.path
        if os.path.lexists(path) and not _was_verified(path, file, known.get(str(path.absolute()))):
            problem = path_problem(root, path) or size_problem(path, file) or content_problem(path, file)
            changed += [file.path] if problem else []
    return changed


def _was_verified(path: Path, file: BundleFile, known: Any) -> bool:
    signature = known.get("signature") if isinstance(known, dict) else None
    return not path.is_symlink() and any(
        signature == [CHECKS, file.sha256, is_graph, *_signature(path)] for is_graph in (True, False)
    )


def _are_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


def path_problem(root: Path, path: Path) -> str | None:
    """Refuse links: the real path must be the plain one below the bundle's own real path."""
    if not path.exists() and not path.is_symlink():
        return "no such file"
    if path.resolve() != root.resolve() / path.relative_to(root):
        return "a link; a bundle holds plain files only"
    return None if path.is_file() else "not a plain file"


def size_problem(path: Path, file: BundleFile) -> str | None:
    """Compare a file's size with the manifest's; None where they are equal."""
    size = path.stat().st_size
    return None if size == file.size else f"{size} bytes, the manifest says {file.size}"


def content_problem(path: Path, file: BundleFile) -> str | None:
    """Compare a file's hash with the manifest's; None where they are equal."""
    return None if sha256_of(path) == file.sha256 else "its content is not what the manifest's sha256 says"


def _reference_problem(file: BundleFile, opens: Sequence[str], listed: Set[str]) -> str | None:
    """Refuse a file whose loader would open bytes that nobody hashed.

    A path that goes back up may lead out through a folder that is a link.
    """
    folder = posixpath.dirname(file.path)
    strangers = [
        name
        for name in opens
        if ".." in name.split("/") or posixpath.normpath(posixpath.join(folder, name)) not in listed
    ]
    return f"its loader opens {', '.join(map(repr, strangers))}, not in the manifest" if strangers else None


def _signature(path: Path) -> list[int]:
    """Return what changes when a file's bytes do; the time of the last change of its inode cannot be put back."""
    status = path.stat()
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]


def profile_of(bundle: Bundle, name: str | None) -> tuple[str, Profile]:
    """Look up a profile; None takes the manifest's default."""
    profiles: Mapping[str, Profile] = bundle.manifest.profiles
    chosen = name or bundle.manifest.default_profile
    if chosen not in profiles:
        hint = did_you_mean(chosen, profiles)
        raise InputError(f"no profile {chosen!r} in this bundle; there are: {', '.join(profiles)}{hint}")
    return chosen, profiles[chosen]
