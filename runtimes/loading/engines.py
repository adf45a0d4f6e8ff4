"""Open one engine a component for a profile, on one device."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace

from emo_edge.bundle.checks.declared_ports import check_declared_ports
from emo_edge.bundle.checks.language import language_header
from emo_edge.bundle.gguf_types import UNQUANTIZED
from emo_edge.bundle.manifest import GRAPHS, MANIFEST_NAME, PARTS, GraphComponent, LanguageComponent, Profile
from emo_edge.bundle.reader import Bundle, profile_of
from emo_edge.errors import AccuracyGateError, BundleError, DeviceError
from emo_edge.runtimes.base.device_names import GPU_DEVICES
from emo_edge.runtimes.base.sessions import LanguageSession, PictureEncoder, Session, TensorSession
from emo_edge.runtimes.loading.device_choice import (
    LANGUAGE_RUNTIMES,
    PICTURE_RUNTIMES,
    TENSOR_RUNTIMES,
    runtime,
    usable_devices,
)
from emo_edge.runtimes.loading.openvino_graphs import OpenVinoGraphs
from emo_edge.runtimes.loading.tensorrt_graphs import GraphCompiler
from emo_edge.runtimes.mtmd.proof import prove_bundle
from emo_edge.utils.extras import installed_packages
from emo_edge.utils.files import sha256_of

logger = logging.getLogger(__name__)
ENGINE_PACKAGES = ("emo-edge", "onnxruntime", "onnxruntime-gpu", "openvino", "tensorrt", "tensorrt-rtx")
"""Packages whose versions may change what a graph computes."""


@dataclass(frozen=True)
class LanguageChain(Session):
    """The sessions between a picture and a question on one side and words on the other."""

    vision: TensorSession
    connector: TensorSession
    language: LanguageSession

    def close(self) -> None:
        """Free all three; a second call does nothing."""
        for session in (self.vision, self.connector, self.language):
            session.close()


@dataclass(frozen=True)
class PictureChain(Session):
    """A vision tower of libmtmd's, and the language model that reads its embeddings."""

    pictures: PictureEncoder
    language: LanguageSession

    def close(self) -> None:
        """Free both, the tower first; a second call does nothing."""
        self.pictures.close()
        self.language.close()


@dataclass(frozen=True)
class Engines(Session):
    """The open sessions of a profile; their opener closes them."""

    profile_name: str
    profile: Profile
    device: str
    face: TensorSession | None
    chain: LanguageChain | PictureChain | None
    """None in a bundle of one network alone."""
    au: TensorSession | None = None
    """Network of action units of its own."""

    def close(self) -> None:
        """Free every engine; a second call does nothing."""
        for session in (self.face, self.au, self.chain):
            if session is not None:
                session.close()

    def variants(self) -> dict[str, str]:
        """Map each component to the precision that runs."""
        return {name: value for name, value in self.profile if isinstance(value, str)}


def open_engines(
    bundle: Bundle,
    *,
    profile: str | None,
    device: str,
    threads: int | None,
    context: int | None = None,
    language: bool = True,
) -> Engines:
    """Open the profile's variants.

    ``context`` is the positions of the language model; None, and at most, those that it was trained with. Without
    ``language`` the face network is opened alone.

    ``auto`` logs what it chose and why, and goes on to the next device, with a warning, where one does not start. A
    named device that does not start is a DeviceError.
    """
    name, chosen = profile_of(bundle, profile)
    if not language:
        chosen = chosen.model_copy(update=dict.fromkeys(("vision", "connector", "language", "question_cache")))
    devices = usable_devices(device, language=chosen.language is not None)
    for candidate, reason in devices[:-1]:
        logger.info("device %s: %s", candidate, reason)
        try:
            return _open_on(candidate, bundle, name, chosen, threads, context)
        except (AccuracyGateError, DeviceError) as error:
            logger.warning("device %s could not be started (%s); trying the next", candidate, error)
    candidate, reason = devices[-1]
    logger.info("device %s: %s", candidate, reason)
    return _open_on(candidate, bundle, name, chosen, threads, context)


def open_face_network(
    bundle: Bundle, *, profile: str | None, device: str, threads: int | None, part: str = "face"
) -> Engines:
    """Open the face network of a profile alone, as `open_engines` does; no file of the others is touched.

    ``part`` ``au`` opens the network of action units instead. Raises BundleError for a bundle without it.
    """
    manifest = bundle.manifest
    if manifest.components.get(part) is None:
        raise BundleError(f"{bundle.directory}: has no face network, so no landmarks and no action units; use another")
    others = {other: None for other in PARTS if other != part}
    components = manifest.components.model_copy(update=others)
    profiles = {name: one.model_copy(update=others) for name, one in manifest.profiles.items()}
    alone = manifest.model_copy(update={"components": components, "profiles": profiles})
    return open_engines(replace(bundle, manifest=alone), profile=profile, device=device, threads=threads)


def _open_on(
    device: str, bundle: Bundle, name: str, chosen: Profile, threads: int | None, context: int | None
) -> Engines:
    parts = bundle.manifest.components
    opened_variants: dict[str, str] = {}
    with ExitStack() as opened:

        def graph(part: str) -> TensorSession | None:
            component, variant = parts.graphs().get(part), chosen.variant(part)
            if component is None or variant is None:
                return None
            session, opened_variants[part] = open_graph(part, component, variant)
            return opened.enter_context(session)  # type: ignore[no-any-return]

        open_graph = GraphOpener(bundle, device, threads)
        vision, connector, face, au = (graph(part) for part in GRAPHS)
        chain: LanguageChain | PictureChain | None = None
        if parts.mmproj and chosen.language:
            chain = opened.enter_context(open_pictures(bundle, chosen, device, threads, context))
        elif vision and connector and parts.language and chosen.language:
            makers = _picture_makers(bundle, chosen.model_copy(update=opened_variants), device)
            session = open_language(bundle, parts.language, chosen.language, device, threads, context, makers)
            language = opened.enter_context(session)
            chain = LanguageChain(vision, connector, language)
        engines = Engines(name, chosen.model_copy(update=opened_variants), device, face, chain, au)
        opened.pop_all()
    return engines


class GraphOpener:
    """Opens the graphs of a bundle on one device."""

    def __init__(self, bundle: Bundle, device: str, threads: int | None) -> None:
        self._bundle, self._device, self._threads = bundle, device, threads
        self._compiler: GraphCompiler | None = None
        self._openvino = OpenVinoGraphs(bundle, threads) if device == "openvino" else None

    def __call__(self, part: str, component: GraphComponent, variant: str) -> tuple[TensorSession, str]:
        """Open a component in ``variant`` or a more precise one; return the session and the variant that runs.

        Raises BundleError, before an engine loads it, for a graph of other inputs or outputs than the manifest's.
        """
        check_declared_ports(self._bundle.files(component.variants[variant])[0], component)
        if self._device == "tensorrt":
            self._compiler = self._compiler or GraphCompiler(self._bundle, threads=self._threads)
            opened = self._compiler.open(part, variant)
            return opened.session, opened.variant
        if self._openvino:
            return self._openvino.open(part, component, variant), variant
        inputs, outputs = ([contract.spec() for contract in side] for side in (component.inputs, component.outputs))
        path = self._bundle.files(component.variants[variant])[0]
        session = runtime(TENSOR_RUNTIMES[component.kind])(
            path, inputs, outputs, device=self._device, threads=self._threads, cuda=self._bundle.manifest.engines.cuda
        )
        return session, variant


def open_pictures(
    bundle: Bundle, chosen: Profile, device: str, threads: int | None, context: int | None
) -> PictureChain:
    """Open a language model of any architecture and its mmproj, which a child process opens before."""
    parts = bundle.manifest.components
    if parts.mmproj is None or parts.language is None or not (chosen.vision and chosen.language):
        raise BundleError(f"{bundle.directory}: an mmproj needs a language model")
    prove_bundle(bundle, chosen.language, chosen.vision)
    mmproj = bundle.files(parts.mmproj.variants[chosen.vision])[0]
    makers = _picture_makers(bundle, chosen, device)
    language = open_language(bundle, parts.language, chosen.language, device, threads, context, makers)
    with ExitStack() as opened:
        opened.enter_context(language)
        pictures: PictureEncoder = runtime(PICTURE_RUNTIMES[parts.mmproj.kind])(
            mmproj,
            language,
            threads=threads,
            gpu=device in GPU_DEVICES,
            exact=chosen.language in UNQUANTIZED,
        )
        opened.pop_all()
    return PictureChain(pictures, language)


def open_language(
    bundle: Bundle,
    component: LanguageComponent,
    variant: str,
    device: str,
    threads: int | None,
    context: int | None = None,
    makers: Mapping[str, str] | None = None,
) -> LanguageSession:
    """Open a language variant: all of it on a GPU, or on the CPU; an unquantized one with an exact cache.

    ``makers`` names all that a picture's embeddings depend on, for a profile whose questions come from the cache
    where that pays on this machine.
    """
    language_header(bundle, variant)
    session: LanguageSession = runtime(LANGUAGE_RUNTIMES[component.kind])(
        bundle.files(component.variants[variant])[0],
        context_size=min(context or component.context_size, component.context_size),
        threads=threads,
        gpu_layers=-1 if device in GPU_DEVICES else 0,
        exact_cache=variant in UNQUANTIZED,
        small_cache=bundle.manifest.engines.llama.cache == "q8_0",
        cached_questions=makers is not None,
        made_by=makers,
    )
    return session


def _picture_makers(bundle: Bundle, running: Profile, device: str) -> dict[str, str] | None:
    """Name all that a picture's embeddings depend on: the bundle, the graphs that run, their engine.

    None where the profile takes no question from the cache.
    """
    if running.question_cache is None:
        return None
    graphs = {part: running.variant(part) or "" for part in PARTS}
    manifest = sha256_of(bundle.directory / MANIFEST_NAME)
    return {"bundle": manifest, "device": device, **graphs, **installed_packages(ENGINE_PACKAGES)}
