"""Checks across the sections of a manifest: each requires something of the others."""

from __future__ import annotations

from emo_edge.bundle.prompts import FramesSegment, TextSegment, placeholder_checks
from emo_edge.bundle.sections import (
    ALONE,
    DETECTOR_FILES,
    FACE_TOKENS,
    LABEL_LOGITS,
    LARGEST_CROP,
    OUTPUTS,
    PARTS,
    QUESTION_INPUT,
    SELECTION,
    UNIT_INTENSITY,
    UNIT_PRESENCE,
    VALUES,
    ActionUnits,
    GraphComponent,
    ManifestSections,
    Profile,
)
from emo_edge.bundle.tasks.section import task_checks


def section_checks(manifest: ManifestSections) -> list[tuple[bool, str]]:
    """Return all that the sections of a manifest require of each other, each with the message where it fails."""
    frames = [segment for segment in manifest.layout if isinstance(segment, FramesSegment)]
    text = "".join(segment.text for segment in manifest.layout if isinstance(segment, TextSegment))
    profiles = manifest.profiles
    return [
        (manifest.default_profile in profiles, f"default_profile {manifest.default_profile!r} is no profile"),
        *_language_checks(manifest, len(frames), text),
        *_face_checks(manifest, frames),
        *_label_checks(manifest),
        *_value_checks(manifest),
        *_output_checks(manifest),
        *_unit_checks(manifest),
        *_task_checks(manifest),
        *_crop_checks(manifest),
        *_file_checks(manifest),
        *(
            (len(set(labels)) == len(labels) > 1, f"label_sets.{name} needs two different labels")
            for name, labels in manifest.label_sets.items()
        ),
        *(check for name, profile in profiles.items() for check in _profile_checks(manifest, name, profile)),
    ]


def _crop_checks(manifest: ManifestSections) -> list[tuple[bool, str]]:
    given = manifest.preprocessing
    crops = {"vision": given.vision, "face": given.face, "au": given.au}
    return [
        (crop is None or crop.size <= LARGEST_CROP, f"preprocessing.{part}.size is more than {LARGEST_CROP}")
        for part, crop in crops.items()
    ]


def _file_checks(manifest: ManifestSections) -> list[tuple[bool, str]]:
    paths, needed = [file.path for file in manifest.files()], DETECTOR_FILES.get(manifest.detector, 0)
    return [
        (len(set(paths)) == len(paths), "two files have the same path"),
        (len(manifest.detector_files) == needed, f"detector {manifest.detector} needs {needed} detector_files"),
    ]


def _language_checks(manifest: ManifestSections, frames: int, text: str) -> list[tuple[bool, str]]:
    """Require all that a language model needs, or none of it."""
    parts = manifest.components
    chain: dict[str, object] = {
        "components.vision": parts.vision,
        "components.connector": parts.connector,
        "preprocessing.vision": manifest.preprocessing.vision,
        "layout": manifest.layout or None,
        "label_sets": manifest.label_sets or None,
    }
    reads = parts.connector is not None and any(feed.name == QUESTION_INPUT for feed in parts.connector.inputs)
    question: dict[str, object] = {
        "question_tokenizer": manifest.question_tokenizer,
        "max_question_tokens": manifest.max_question_tokens,
    }
    if parts.language is None:
        if manifest.face_labels.expression:
            chain.pop("label_sets")
        unused = {**chain, **question, "visual_tokens": manifest.visual_tokens}
        odd = [name for name, value in unused.items() if value is not None]
        return [
            (not odd, f"without components.language there is no use for {', '.join(odd)}"),
            (
                parts.face is not None or parts.au is not None,
                "there is neither a language model nor a face network nor one of action units",
            ),
        ]
    if parts.mmproj:
        chain.pop("components.connector")
    needed = chain | question if reads else chain
    missing = [name for name, value in needed.items() if value is None]
    unread = [name for name, value in question.items() if value is not None and not reads]
    return [
        (not missing, f"components.language needs {', '.join(missing)}"),
        (not unread, f"components.connector reads no question: there is no use for {', '.join(unread)}"),
        (frames == 1, "layout needs exactly one frames segment"),
        (not (parts.mmproj and parts.connector), "an mmproj holds its projector: components.connector has no use"),
        *_picture_checks(manifest),
        *_budget_checks(manifest),
        ("{question}" in text, "layout lacks {question}"),
        *placeholder_checks("layout", text),
    ]


def _picture_checks(manifest: ManifestSections) -> list[tuple[bool, str]]:
    """Require that the frames' tokens are those of the vision component that there is."""
    groups = [group for segment in manifest.layout if isinstance(segment, FramesSegment) for group in segment.groups]
    own = "vision" if manifest.components.mmproj else "connector"
    strange = [group.name for group in groups if group.component not in (own, "face")]
    pictures = [group for group in groups if group.component == "vision"]
    return [
        (not strange, f"layout has {', '.join(strange)}, which components.{own} does not give"),
        (len(pictures) == bool(manifest.components.mmproj), "layout needs one group of the mmproj's picture"),
    ]


def _budget_checks(manifest: ManifestSections) -> list[tuple[bool, str]]:
    """Require of a budget of visual tokens the graphs that keep it, and of such graphs the budget."""
    vision, connector, budget = manifest.components.vision, manifest.components.connector, manifest.visual_tokens
    if not isinstance(vision, GraphComponent) or connector is None:
        return [(budget is None, "visual_tokens needs components.vision and components.connector, as graphs")]
    given, read = ({one.name for one in side} & SELECTION for side in (vision.outputs, connector.inputs))
    groups = [group for segment in manifest.layout if isinstance(segment, FramesSegment) for group in segment.groups]
    counts = [group.count for group in groups if group.component == "connector"]
    needed = SELECTION if budget else set()
    return [
        (given == needed, f"components.vision gives {_names(given)} to choose tokens by, not {_names(needed)}"),
        (read == needed, f"components.connector reads {_names(read)} to choose tokens by, not {_names(needed)}"),
        (budget is None or counts == [budget.kept], f"visual_tokens.kept is not the layout's {counts}"),
        (budget is None or budget.kept <= budget.patches, "visual_tokens.kept is more than visual_tokens.patches"),
    ]


def _names(names: set[str]) -> str:
    return ", ".join(sorted(names)) or "nothing"


def _face_checks(manifest: ManifestSections, frames: list[FramesSegment]) -> list[tuple[bool, str]]:
    face, crop = manifest.components.face, manifest.preprocessing.face
    tokens = any(group.component == "face" for segment in frames for group in segment.groups)
    outputs = {contract.name for contract in face.outputs} if face else set()
    gives_tokens, only_tokens = FACE_TOKENS in outputs, outputs == {FACE_TOKENS}
    return [
        ((face is None) == (crop is None), "components.face and preprocessing.face go together"),
        (face is not None or not tokens, "layout has face tokens, and there is no face component"),
        (not (face and tokens) or gives_tokens, f"layout has face tokens, components.face lacks {FACE_TOKENS}"),
        (tokens or not only_tokens, "components.face gives tokens alone, and the layout has none"),
    ]


def _label_checks(manifest: ManifestSections) -> list[tuple[bool, str]]:
    """Require a name for every row of a graph that gives the labels itself, and no set of other labels."""
    parts, rows = manifest.components, manifest.face_labels.expression
    shapes = [one.shape for one in parts.face.outputs if one.name == LABEL_LOGITS] if parts.face else []
    if not shapes:
        return [(not rows, f"face_labels.expression names rows, and components.face lacks {LABEL_LOGITS}")]
    width, others = len(rows), {label for labels in manifest.label_sets.values() for label in labels} - set(rows)
    return [
        (parts.language is None, f"components.face gives {LABEL_LOGITS} beside a language model"),
        (shapes[0][1:] == (width,), f"{LABEL_LOGITS} {list(shapes[0])} needs {width}, a row each expression"),
        (bool(manifest.label_sets), "label_sets needs a set of the network's labels"),
        (not others, f"label_sets has labels that the network lacks: {', '.join(sorted(others))}"),
    ]


def _value_checks(manifest: ManifestSections) -> list[tuple[bool, str]]:
    """Require a name and a scale for every number that a network of labels gives beside them."""
    face, count = manifest.components.face, len(manifest.face_labels.values)
    shapes = [one.shape for one in face.outputs if one.name == VALUES] if face else []
    if not shapes:
        return [(not count, f"face_labels.values names rows, and components.face lacks {VALUES}")]
    return [(shapes[0][1:] == (count,), f"{VALUES} {list(shapes[0])} needs {count}, a row each of face_labels.values")]


def _unit_checks(manifest: ManifestSections) -> list[tuple[bool, str]]:
    """Require outputs for the action units, and the units of these outputs."""
    section, parts = manifest.action_units, manifest.components
    given = {name: _unit_outputs(part) for name, part in (("face", parts.face), ("au", parts.au))}
    unread = [name for name, outputs in given.items() if outputs and (section is None or section.source != name)]
    own = section is not None and section.source == "au"
    checks = [
        ((parts.au is None) == (manifest.preprocessing.au is None), "components.au and preprocessing.au go together"),
        (parts.au is None or own, "components.au needs action_units.source au: nothing else reads it"),
        *((False, f"components.{name} gives {', '.join(given[name])}, and {_reader(section)}") for name in unread),
    ]
    if section is None:
        return checks
    count, shapes = len(section.units), given[section.source]
    return [
        *checks,
        (UNIT_PRESENCE in shapes, f"action_units needs the output {UNIT_PRESENCE} of components.{section.source}"),
        *(
            (shape[1:] == (count,), f"{name} {list(shape)} needs {count}, a row each of action_units.units")
            for name, shape in shapes.items()
        ),
    ]


def _unit_outputs(graph: GraphComponent | None) -> dict[str, tuple[int | str, ...]]:
    """Return the shapes of the outputs of action units that a graph has, by name."""
    shapes = {one.name: one.shape for one in graph.outputs} if graph else {}
    return {name: shapes[name] for name in (UNIT_PRESENCE, UNIT_INTENSITY) if name in shapes}


def _reader(section: ActionUnits | None) -> str:
    return "there is no action_units" if section is None else f"action_units.source is {section.source}"


def _task_checks(manifest: ManifestSections) -> list[tuple[bool, str]]:
    """Require of each task the part that answers it, and the version that knows tasks and action units."""
    tasks, has_language = manifest.tasks or {}, manifest.components.language is not None
    is_first = manifest.action_units is None and manifest.tasks is None and manifest.visual_tokens is None
    newest = 1 if is_first else 2
    checks = [(manifest.bundle_version == newest, f"bundle_version must be {newest} of what the manifest has")]
    for name, task in tasks.items():
        asks = task.status != "untrained" and name not in ("au", "heart-rate")
        checks += task_checks(name, task)
        checks.append((has_language or not asks, f"tasks.{name} needs components.language"))
        if name == "au" and task.status != "untrained":
            checks.append((manifest.action_units is not None, f"tasks.{name} needs action_units"))
    return checks


def _output_checks(manifest: ManifestSections) -> list[tuple[bool, str]]:
    """Require every output that the pipeline reads."""
    checks = []
    for part, graph in manifest.components.graphs().items():
        given = {contract.name for contract in graph.outputs}
        missing = set() if part == "face" and given in ALONE else OUTPUTS[part] - given
        checks.append((not missing, f"components.{part} lacks the outputs {', '.join(sorted(missing))}"))
    heads = manifest.components.face.outputs if manifest.components.face else ()
    return checks + manifest.face_labels.row_checks({head.name: head.shape for head in heads})


def _profile_checks(manifest: ManifestSections, name: str, profile: Profile) -> list[tuple[bool, str]]:
    checks = []
    for part in PARTS:
        component, variant = manifest.components.get(part), profile.variant(part)
        known = list(component.variants) if component else [None]
        checks.append((variant in known, f"profiles.{name}.{part}: {variant!r} is not one of {known}"))
    return checks
