"""Write the bundle of a GGUF and its mmproj.

The files are copied as they are. What a device must know beside them is found here: the prompt (from the chat
template), the tokens of a picture, the detector, and, where there is a reference, what the compression cost.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from emo_edge import __version__
from emo_edge.assets.packaged import Sample
from emo_edge.bundle.checks.any_gguf import check_language_gguf, check_mmproj_gguf
from emo_edge.bundle.face_crops import CropSettings, Preprocessing
from emo_edge.bundle.gguf_header import GgufHeader
from emo_edge.bundle.gguf_types import UNQUANTIZED
from emo_edge.bundle.manifest import (
    REFERENCE_KEY,
    Components,
    GraphComponent,
    LanguageComponent,
    Manifest,
    MmprojComponent,
    Profile,
    Variant,
)
from emo_edge.bundle.prompts import FaceLabels
from emo_edge.bundle.reader import Bundle
from emo_edge.bundle.writer import BundleWriter
from emo_edge.console.progress import QUIET, Reports
from emo_edge.errors import CheckpointError, InputError
from emo_edge.export.bundles.detector import HAAR, stored_detector
from emo_edge.export.bundles.evaluate import chain_probabilities
from emo_edge.export.bundles.face_network import FacePart, face_component
from emo_edge.export.bundles.manifest import version_with
from emo_edge.export.bundles.profiles import PROFILE_OF
from emo_edge.export.bundles.run import ExportRun
from emo_edge.export.configs.checkpoint import CONFIG_NAME
from emo_edge.export.vlm.chat_template import ChatPrompt
from emo_edge.export.vlm.config import WHOLE, VlmConfig, VlmFiles
from emo_edge.export.vlm.families import check_family, family_warning, projector_of
from emo_edge.export.vlm.files import copied, file_type, language_types, require_files, users_names
from emo_edge.export.vlm.pictures import BY_PROJECTOR, ONE, Pictures, pictures_of
from emo_edge.export.vlm.prompt import check_prompts, conversation, layout, prompt_config, token_facts
from emo_edge.inference.detectors import requested_files
from emo_edge.metrics.label_agreement import label_distance
from emo_edge.runtimes.mtmd.proof import Pair, proven_pair
from emo_edge.taxonomy import LABEL_SETS
from emo_edge.utils.text import printable

LARGEST_SIDE = 448
"""Pixels by default, of towers that read any size; 256 positions in Qwen's."""
ANY_SIZE = ("qwen2vl_merger", "qwen2.5vl_merger", "qwen3vl_merger")
"""Projectors whose tower reads pictures of any size: their ``image_size`` is no size of a picture."""
OWN_SET = "own"
LONGEST_TEXT = 80
"""Characters of a file's text about itself that are kept."""
CLASS_TOKEN, CLASS_TOKEN_PROJECTORS = "v.class_embd", ("mlp", "mlp_norm", "ldp", "ldpv2", "internvl")
CLASS_TOKEN_WARNING = (
    "this tower has a class token, which llama.cpp puts behind the patches instead of before them (its issue 25814, "
    "seen in llama-cpp-python 0.3.36): every patch gets its neighbour's position, and answers are not the model's own"
)
LIMITS = (
    "a general model: nobody tuned it for facial expressions, unless its authors say so. A facial expression is not "
    "an emotion"
)


def bundle_from_gguf(
    files: VlmFiles,
    target: Path,
    config: VlmConfig,
    samples: Sequence[Sample] = (),
    *,
    overwrite: bool = False,
    threads: int | None = None,
    reports: Reports = QUIET,
) -> Bundle:
    """Write the bundle of a GGUF and its mmproj.

    Args:
        files: of the model.
        target: the bundle.
        config: prompt, labels, crop.
        samples: pictures on which the model is compared with its reference, and the face network with PyTorch.
        overwrite: whether a bundle there is replaced as a whole.
        threads: of each engine; None leaves it to the engine.
        reports: gets lines and progress.

    Raises BundleError for files that are damaged, hostile, swapped or of two models, a template without a place for a
    picture, or a context that does not hold a picture and a question; InputError for choices that cannot be used.
    """
    require_files(files)
    header, tower = check_language_gguf(files.model), check_mmproj_gguf(files.mmproj)
    check_family(header, tower)
    prompt, side = conversation(header, config), config.picture_size or _side(tower)
    _check_choices(config, prompt)
    types, finder = language_types(files, header), requested_files(config.detector)
    with BundleWriter(target, overwrite=overwrite) as writer:
        copies = copied(files, types, file_type(tower), writer, reports)
        pair = _proven(files, types, copies, side, reports)
        reports.line(f"a picture of {side} pixels fills {pair.positions} positions; prompt: {prompt.shown}")
        reports.line(_pictures_line(tower, config))
        model = copies[f"language-{types[0]}"]
        facts, detector = token_facts(model, prompt), stored_detector(writer, finder) if finder else HAAR
        face = _face(config, writer, samples, threads, reports)
        manifest = Manifest(
            bundle_version=version_with(face.units),
            name=_name(header, config),
            components=_components(copies, types, tower, pair, config, writer, face.component),
            preprocessing=_preprocessing(config, side, face.crop),
            layout=layout(prompt, pair.positions, facts),
            prompt=prompt_config(prompt, config, answer_space=facts.answer_space),
            label_sets=({OWN_SET: config.labels} if config.labels else {}) | LABEL_SETS,
            face_labels=face.labels,
            action_units=face.units,
            question_tokenizer=None,
            max_question_tokens=None,
            detector=detector.name,
            detector_files=detector.files,
            profiles=_profiles(types, file_type(tower), face.component),
            default_profile=_profile_names(types)[0],
            provenance=_provenance(header, tower, files, config.face),
        )
        check_prompts(model, manifest, pair.context)
        for warning in _warnings(header, tower):
            reports.line(f"warning: {warning}")
        if files.reference:
            manifest = _compared(Bundle(writer.partial, manifest), types, samples, threads, reports)
        return writer.finish(manifest)


def _check_choices(config: VlmConfig, prompt: ChatPrompt) -> None:
    """Raise InputError for choices that no bundle can have, CheckpointError without ``face``, before anything slow."""
    prompt_config(prompt, config)
    labels = config.labels
    if labels and (len(labels) == 1 or any(_line(label) != label for label in labels)):
        raise InputError(f"`labels` {list(labels)}: give two or more different ones, each on one line")
    if config.use_demographics and config.face is None:
        raise InputError("the sentence of age, gender and race comes from a face network: name one with `face`")
    if config.face is not None and not (config.face / CONFIG_NAME).is_file():
        raise CheckpointError(f"`face` {config.face}: no checkpoint, which is a folder with {CONFIG_NAME}")


def _proven(files: VlmFiles, types: Sequence[str], copies: dict[str, Path], side: int, reports: Reports) -> Pair:
    """Have a child process open each language model with the mmproj, and return the sizes of the first."""
    reports.line(f"a child process opens {files.model.name} with {files.mmproj.name}")
    pairs: list[Pair] = []
    with users_names(files, types, copies):
        for done, kind in enumerate(types):
            reports.progress("read one picture", done, len(types))
            pairs.append(proven_pair(copies[f"language-{kind}"], copies["vision"], side))
    return pairs[0]


def _warnings(header: GgufHeader, tower: GgufHeader) -> Iterator[str]:
    if _misplaced_class_token(tower):
        yield CLASS_TOKEN_WARNING
    others = family_warning(header, tower)
    if others:
        yield others


def _name(header: GgufHeader, config: VlmConfig) -> str:
    """Return the user's name, or what the file says of itself."""
    return _line(config.name or str(header.metadata.get("general.name") or header.architecture))


def _line(text: str) -> str:
    """Return a text of a stranger's file on one line."""
    return printable(" ".join(text.split()))[:LONGEST_TEXT] or "unnamed"


def _side(tower: GgufHeader) -> int:
    size = int(tower.metadata["clip.vision.image_size"])
    return min(size, LARGEST_SIDE) if projector_of(tower) in ANY_SIZE else size


def _misplaced_class_token(tower: GgufHeader) -> bool:
    return CLASS_TOKEN in tower.tensors and projector_of(tower) in CLASS_TOKEN_PROJECTORS


def _pictures(tower: GgufHeader, config: VlmConfig) -> Pictures:
    return config.pictures or pictures_of(projector_of(tower))


def _pictures_line(tower: GgufHeader, config: VlmConfig) -> str:
    """Return the line on clips: whether they are read, and why."""
    number, (_, source) = (
        _pictures(tower, config),
        BY_PROJECTOR.get(projector_of(tower), (ONE, "no entry in the table")),
    )
    reads = "a clip's frames fill one prompt" if number != ONE else "one picture in a prompt, so no clips"
    return f"{reads} (projector {_line(projector_of(tower))}: {'`pictures`' if config.pictures else source})"


def _components(
    copies: dict[str, Path],
    types: Sequence[str],
    tower: GgufHeader,
    pair: Pair,
    config: VlmConfig,
    writer: BundleWriter,
    face: GraphComponent | None,
) -> Components:
    language = {kind: Variant(files=(writer.entry(copies[f"language-{kind}"]),)) for kind in types}
    return Components(
        vision=MmprojComponent(
            variants={file_type(tower): Variant(files=(writer.entry(copies["vision"]),))},
            pictures=_pictures(tower, config),
        ),
        connector=None,
        face=face,
        language=LanguageComponent(
            context_size=min(config.context, pair.context), embedding_size=pair.embedding_size, variants=language
        ),
    )


def _face(
    config: VlmConfig, writer: BundleWriter, samples: Sequence[Sample], threads: int | None, reports: Reports
) -> FacePart:
    """Write the graphs of the face network, where there is one."""
    if config.face is None:
        return FacePart(None, None, FaceLabels())
    return face_component(ExportRun(config.face, writer, samples, threads, reports), config.face_precisions)


def _preprocessing(config: VlmConfig, side: int, face: CropSettings | None) -> Preprocessing:
    margin = 0.0 if config.detector == WHOLE else config.margin
    return Preprocessing(
        vision=CropSettings(method="square", size=side, margin=margin, fill=(0.5, 0.5, 0.5)), face=face
    )


def _profile_names(types: Sequence[str]) -> list[str]:
    """Name a profile for each type; the reference of an exact model keeps its type's name."""
    names: list[str] = []
    for kind in types:
        own = PROFILE_OF.get(kind, kind)
        names.append(kind if own in names else own)
    return names


def _profiles(types: Sequence[str], tower: str, face: GraphComponent | None) -> dict[str, Profile]:
    """Name a profile for each type.

    Unquantized ones take the face network's most precise graph, the others its smallest.
    """
    graphs = list(face.variants) if face else [None]
    return {
        name: Profile(vision=tower, connector=None, face=graphs[0 if kind in UNQUANTIZED else -1], language=kind)
        for name, kind in zip(_profile_names(types), types, strict=True)
    }


def _provenance(header: GgufHeader, tower: GgufHeader, files: VlmFiles, face: Path | None) -> dict[str, str]:
    licence = header.metadata.get("general.license")
    return {
        "imported_by": f"emo-edge {__version__}",
        "architecture": _line(f"{header.architecture}, projector {projector_of(tower)}"),
        REFERENCE_KEY: "the unquantized language model in this bundle" if files.reference else "none",
        **({"face_network": _line(face.resolve().name)} if face else {}),
        "limits": LIMITS,
        **({"licence": _line(str(licence))} if licence else {}),
        **({"warning": CLASS_TOKEN_WARNING} if _misplaced_class_token(tower) else {}),
    }


def _compared(
    draft: Bundle, types: Sequence[str], samples: Sequence[Sample], threads: int | None, reports: Reports
) -> Manifest:
    """Measure both profiles on the pictures, from the picture on, and keep the distance as evidence."""
    manifest, names = draft.manifest, _profile_names(types)
    labels, reference = next(iter(manifest.label_sets)), names[-1]
    runs = {
        name: chain_probabilities(draft, name, samples, labels, threads=threads, progress=reports.of(f"profile {name}"))
        for name in names
    }
    profiles = dict(manifest.profiles)
    for name, run in runs.items():
        measured = label_distance(runs[reference].probabilities, run.probabilities)
        profiles[name] = profiles[name].model_copy(update={"evidence": measured})
        reports.line(
            f"profile {name} beside {reference}: label agreement {measured['label_agreement']:.4f}, mean KL "
            f"{measured['kl_mean']:.1e} on {len(samples)} pictures, {run.milliseconds:.1f} ms a picture"
        )
    return manifest.model_copy(update={"profiles": profiles})
