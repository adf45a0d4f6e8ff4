"""Open one engine a component for a profile, on one device."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass

from emo_edge.bundle import Bundle
from emo_edge.errors import DeviceError, InputError
from emo_edge.manifest import GraphComponent, LanguageComponent, Profile
from emo_edge.registry import LANGUAGE_RUNTIMES, TENSOR_RUNTIMES, choose_device, runtime
from emo_edge.sessions import LanguageSession, Session, TensorSession

log = logging.getLogger(__name__)
EXACT_LANGUAGE = ("f16", "f32", "bf16")
"""Unquantized language variants keep their attention cache in float32 too."""


@dataclass(frozen=True)
class LanguageChain(Session):
    """What turns a picture and a question into words."""

    vision: TensorSession
    connector: TensorSession
    language: LanguageSession

    def close(self) -> None:
        """Free all three; a second call does nothing."""
        for session in (self.vision, self.connector, self.language):
            session.close()


@dataclass(frozen=True)
class Engines(Session):
    """The open sessions of a profile; whoever opened them closes them."""

    profile_name: str
    profile: Profile
    device: str
    face: TensorSession | None
    chain: LanguageChain | None
    """None in a bundle of a face network alone."""

    def close(self) -> None:
        """Free every engine; a second call does nothing."""
        for session in (self.face, self.chain):
            if session is not None:
                session.close()

    def variants(self) -> dict[str, str]:
        """Component to the precision that runs."""
        return {name: value for name, value in self.profile if isinstance(value, str)}


def profile_of(bundle: Bundle, name: str | None) -> tuple[str, Profile]:
    """Look up a profile; None takes the manifest's default."""
    profiles: Mapping[str, Profile] = bundle.manifest.profiles
    chosen = name or bundle.manifest.default_profile
    if chosen not in profiles:
        raise InputError(f"no profile {chosen!r} in this bundle; there are: {', '.join(profiles)}")
    return chosen, profiles[chosen]


def open_engines(bundle: Bundle, *, profile: str | None, device: str, threads: int | None) -> Engines:
    """Open the profile's variants.

    ``auto`` logs what it chose and why, and goes on to the CPU, with a warning, where CUDA was built in and does not
    start. A named device that does not start is a DeviceError.
    """
    name, chosen = profile_of(bundle, profile)
    taken, reason = choose_device(device)
    log.info("device %s: %s", taken, reason)
    try:
        return _open_on(taken, bundle, name, chosen, threads)
    except DeviceError as error:
        if device != "auto" or taken == "cpu":
            raise
        log.warning("device cpu: %s could not be started (%s)", taken, error)
    return _open_on("cpu", bundle, name, chosen, threads)


def _open_on(device: str, bundle: Bundle, name: str, chosen: Profile, threads: int | None) -> Engines:
    parts = bundle.manifest.components
    with ExitStack() as opened:

        def graph(component: GraphComponent | None, variant: str | None) -> TensorSession | None:
            if component is None or variant is None:
                return None
            inputs, outputs = ([contract.spec() for contract in side] for side in (component.inputs, component.outputs))
            path = bundle.files(component.variants[variant])[0]
            session = runtime(TENSOR_RUNTIMES[component.kind])(path, inputs, outputs, device=device, threads=threads)
            return opened.enter_context(session)  # type: ignore[no-any-return]

        vision, connector = graph(parts.vision, chosen.vision), graph(parts.connector, chosen.connector)
        face, chain = graph(parts.face, chosen.face), None
        if vision and connector and parts.language and chosen.language:
            language = opened.enter_context(_language(bundle, parts.language, chosen.language, device, threads))
            chain = LanguageChain(vision, connector, language)
        engines = Engines(name, chosen, device, face, chain)
        opened.pop_all()
    return engines


def _language(
    bundle: Bundle, component: LanguageComponent, variant: str, device: str, threads: int | None
) -> LanguageSession:
    session: LanguageSession = runtime(LANGUAGE_RUNTIMES[component.kind])(
        bundle.files(component.variants[variant])[0],
        context_size=component.context_size,
        threads=threads,
        gpu_layers=-1 if device == "cuda" else 0,
        exact_cache=variant in EXACT_LANGUAGE,
    )
    return session
