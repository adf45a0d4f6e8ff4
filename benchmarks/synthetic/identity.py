"""Identities: proportions, colours, hair and accessories drawn from a generator, with their exact labels.

The race groups are nothing but parameter clusters (colours and proportions, partly overlapping) that carry the names
of the upstream head's labels, so that its output can be measured; they describe drawings, not people.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emo_edge.benchmarks.synthetic.geometry import FaceShape
from emo_edge.taxonomy import AGE_BINS, RACES

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Cluster:
    """Centre of one group's parameters: RGB skin range, hair and iris colours with weights, proportions."""

    skin: tuple[Colour, Colour]
    hair: tuple[tuple[str, float], ...]
    iris: tuple[Colour, ...]
    eye_open: float
    eye_tilt: float
    nose_half: float
    nose_height: float
    lips: float
    wave: float


HAIR_COLOURS: dict[str, Colour] = {
    "black": (34, 28, 28),
    "brown": (96, 60, 36),
    "blond": (216, 176, 104),
    "red": (166, 74, 34),
    "gray": (186, 186, 190),
}
"""RGB of a hair colour before its personal shift."""

_BROWNS: tuple[Colour, ...] = ((74, 44, 26), (58, 36, 24))
CLUSTERS: dict[str, Cluster] = {
    "White": Cluster(
        ((248, 214, 196), (236, 190, 170)),
        (("blond", 0.35), ("brown", 0.4), ("red", 0.15), ("black", 0.1)),
        ((70, 120, 170), (90, 140, 100), (110, 140, 160), (110, 80, 50)),
        1.0,
        0.01,
        0.145,
        0.34,
        0.85,
        0.35,
    ),
    "Black": Cluster(
        ((146, 98, 72), (104, 68, 50)), (("black", 0.85), ("brown", 0.15)), _BROWNS, 1.05, 0.02, 0.215, 0.24, 1.4, 0.8
    ),
    "Indian": Cluster(
        ((182, 128, 88), (150, 100, 66)),
        (("black", 0.85), ("brown", 0.15)),
        _BROWNS,
        1.18,
        0.02,
        0.17,
        0.34,
        1.08,
        0.35,
    ),
    "Asian": Cluster(
        ((250, 216, 176), (236, 198, 156)),
        (("black", 0.9), ("brown", 0.1)),
        _BROWNS,
        0.74,
        0.045,
        0.17,
        0.22,
        0.95,
        0.08,
    ),
    "Others": Cluster(
        ((222, 150, 124), (198, 122, 98)),
        (("brown", 0.5), ("black", 0.25), ("red", 0.25)),
        ((120, 150, 70), (150, 120, 60)),
        0.9,
        -0.03,
        0.185,
        0.28,
        1.15,
        0.6,
    ),
}
"""Parameter clusters by name (see RACES)."""


@dataclass(frozen=True)
class Identity:
    """Everything about a face that its expression, pose and the camera do not change. Colours are RGB."""

    gender: int
    race: int
    age: int
    years: float
    shape: FaceShape
    skin: Colour
    hair: Colour
    hair_name: str
    brow: Colour
    iris: Colour
    lips: Colour
    style: str
    wave: float
    volume: float
    hairline: float
    part: float
    brow_width: float
    wrinkles: float
    child: float
    mustache: bool
    goatee: bool
    beard: bool
    stubble: bool
    sideburns: bool
    glasses: bool
    hat: bool
    earrings: bool
    lipstick: bool
    blush: bool
    makeup: bool
    bags: bool
    double_chin: bool
    chubby: bool
    shirt: Colour
    accent: Colour
    spots: tuple[tuple[float, float, float, bool], ...]


def _mix(a: Colour, b: Colour, t: float) -> Colour:
    return (int(a[0] + (b[0] - a[0]) * t), int(a[1] + (b[1] - a[1]) * t), int(a[2] + (b[2] - a[2]) * t))


def _shift(rng: np.random.Generator, colour: Colour, spread: float) -> Colour:
    light = rng.normal(0, spread)
    r, g, b = (int(np.clip(c + light + rng.normal(0, spread * 0.25), 8, 250)) for c in colour)
    return (r, g, b)


def _sample_shape(
    rng: np.random.Generator, group: Cluster, male: bool, child: float, old: float, full: float
) -> FaceShape:
    chin = rng.normal(1.4 + 0.03 * male, 0.04) - 0.3 * child
    size = rng.normal(1.06, 0.05)
    mouth_y = 0.63 * chin + rng.normal(0.01, 0.015)
    lips = group.lips * rng.normal(1.0, 0.1) * (1.0 - 0.35 * old) * (0.88 if male else 1.12)
    opening = group.eye_open * rng.normal(1.0, 0.06) * (1 + 0.4 * child - 0.2 * old) * (0.95 if male else 1.06)
    return FaceShape(
        width=rng.normal(0.98, 0.02) - 0.02 * (not male),
        jaw=float(np.clip(rng.normal(2.5 if male else 2.05, 0.16) - 0.1 * child + 0.2 * full, 1.85, 2.75)),
        chin=chin,
        cheek=0.03 * child + 0.05 * full - 0.02 * old + rng.normal(0, 0.01),
        eye_x=rng.normal(0.43, 0.012),
        eye_half=0.2 * size * (1 + 0.2 * child),
        eye_top=0.108 * opening,
        eye_bottom=0.072 * opening,
        eye_tilt=group.eye_tilt + rng.normal(0, 0.01) - 0.02 * old + 0.012 * (not male),
        brow_y=rng.normal(-0.3 + 0.045 * male, 0.015) - 0.04 * child,
        brow_arch=max(0.01, rng.normal(0.045 if male else 0.085, 0.02)),
        brow_half=0.27 * rng.normal(1.0, 0.04),
        nose_y=0.4 * chin + rng.normal(0.0, 0.015) + 0.03 * old,
        nose_half=group.nose_half * rng.normal(1.0, 0.08) * (1 - 0.2 * child + 0.12 * old + 0.06 * male),
        nose_height=group.nose_height * (1 - 0.4 * child),
        mouth_y=mouth_y,
        mouth_half=0.34 * rng.normal(1.0, 0.06) * (1 - 0.18 * child),
        lip_top=0.075 * lips,
        lip_bottom=0.105 * lips,
    )


def _sample_style(rng: np.random.Generator, male: bool, years: float) -> str:
    if male:
        balding = float(np.clip((years - 28) / 60, 0, 0.7))
        if rng.random() < balding:
            return str(rng.choice(["bald", "receding"], p=[0.4, 0.6]))
        return str(rng.choice(["short", "bangs", "buzz", "long"], p=[0.5, 0.22, 0.18, 0.1]))
    return str(rng.choice(["long", "bob", "bangs_long", "bun", "short"], p=[0.38, 0.2, 0.22, 0.12, 0.08]))


_CLOTHES: tuple[Colour, ...] = (
    (60, 76, 120),
    (150, 60, 64),
    (70, 110, 84),
    (196, 170, 120),
    (90, 90, 98),
    (206, 206, 210),
)


def _sample_spots(rng: np.random.Generator, years: float) -> tuple[tuple[float, float, float, bool], ...]:
    """Place (x, y, radius, red) spots: pimples at 10 to 19, age spots from 66."""
    teen = 10 <= years < 20 and rng.random() < 0.85
    if not teen and years < 66:
        return ()
    spots = []
    for _ in range(int(rng.integers(7, 13))):
        side = float(rng.choice((-1.0, 1.0)))
        low = teen or rng.random() < 0.4
        x, y = side * rng.uniform(0.4, 0.75), rng.uniform(0.25, 0.65) if low else rng.uniform(-0.7, -0.2)
        spots.append(
            (float(x), float(y), float(rng.uniform(0.016, 0.028) if teen else rng.uniform(0.025, 0.045)), teen)
        )
    return tuple(spots)


def sample_identity(rng: np.random.Generator) -> Identity:
    """Draw a person: uniform gender, race group and age bin, everything else conditioned on them."""
    gender, race, age = (int(rng.integers(n)) for n in (2, len(RACES), len(AGE_BINS)))
    male, group = gender == 0, CLUSTERS[RACES[race]]
    years = 10.0 * age + rng.uniform(3.0, 7.0) + (4.0 if age == 7 else 0.0)
    child = float(np.clip((23.0 - years) / 18.0, 0.0, 1.0))
    old = float(np.clip((years - 25.0) / 52.0, 0.0, 1.0))
    adult = years > 18
    chubby = bool(rng.random() < 0.2)
    skin = _shift(rng, _mix(*group.skin, float(rng.random())), 4.0)
    name = str(rng.choice([n for n, _ in group.hair], p=[p for _, p in group.hair]))
    base = _shift(rng, HAIR_COLOURS[name], 7.0)
    gray = float(np.clip((years - 40.0) / 32.0 + rng.normal(0, 0.03), 0.0, 1.0))
    hair = _mix(base, _shift(rng, (190 + int(35 * old),) * 3, 6.0), gray)
    style = _sample_style(rng, male, years)
    beards = male and adult and rng.random() < 0.45
    kind = int(rng.integers(4)) if beards else -1
    lipstick = not male and adult and bool(rng.random() < 0.65)
    natural = _mix(skin, (176, 62, 70), 0.3 if RACES[race] == "Black" else 0.42)
    colours: tuple[Colour, ...] = ((190, 24, 48), (206, 60, 92), (150, 22, 60), (214, 74, 70))
    wave = float(np.clip(rng.normal(group.wave, 0.15), 0, 1))
    shirt, accent = (_shift(rng, _CLOTHES[int(rng.integers(len(_CLOTHES)))], 18.0) for _ in range(2))
    return Identity(
        gender=gender,
        race=race,
        age=age,
        years=years,
        shape=_sample_shape(rng, group, male, child, old, float(chubby)),
        skin=skin,
        hair=hair,
        hair_name="gray" if gray > 0.5 else name,
        brow=_mix(_mix(base, (20, 16, 14), 0.3), hair, gray * 0.7),
        iris=group.iris[int(rng.integers(len(group.iris)))],
        lips=colours[int(rng.integers(4))] if lipstick else natural,
        style=style,
        wave=wave,
        volume=float(rng.uniform(0.06, 0.16) + 0.08 * wave),
        hairline=float(-0.92 + rng.normal(0, 0.03)),
        part=float(rng.choice([-0.45, -0.3, 0.0, 0.3, 0.45])),
        brow_width=float(np.clip(rng.normal(0.085 if male else 0.055, 0.01) * (1 - 0.3 * child), 0.03, 0.12)),
        wrinkles=old,
        child=child,
        mustache=kind in (0, 2),
        goatee=kind == 1,
        beard=kind == 2,
        stubble=kind == 3,
        sideburns=male and adult and bool(rng.random() < 0.3),
        glasses=bool(rng.random() < 0.13),
        hat=bool(rng.random() < 0.07),
        earrings=not male and bool(rng.random() < 0.35),
        lipstick=lipstick,
        blush=not male and bool(rng.random() < 0.3),
        makeup=lipstick and bool(rng.random() < 0.45),
        bags=bool(rng.random() < 0.08 + 0.7 * (years > 50)),
        double_chin=chubby and bool(rng.random() < 0.6),
        chubby=chubby,
        shirt=shirt,
        accent=accent,
        spots=_sample_spots(rng, years),
    )


def identity_attributes(person: Identity) -> dict[str, bool]:
    """Return the CelebA attributes that a person's drawing decides (by name, see CELEBA_ATTRIBUTES)."""
    shape = person.shape
    male, bare = person.gender == 0, person.style == "bald"
    return {
        "5_o_Clock_Shadow": person.stubble,
        "Arched_Eyebrows": shape.brow_arch > 0.075,
        "Bags_Under_Eyes": person.bags,
        "Bald": bare,
        "Bangs": person.style.startswith("bangs") and not person.hat,
        "Big_Lips": shape.lip_top + shape.lip_bottom > 0.21,
        "Big_Nose": shape.nose_half > 0.19,
        "Black_Hair": person.hair_name == "black" and not bare,
        "Blond_Hair": person.hair_name == "blond" and not bare,
        "Brown_Hair": person.hair_name == "brown" and not bare,
        "Bushy_Eyebrows": person.brow_width > 0.085,
        "Chubby": person.chubby,
        "Double_Chin": person.double_chin,
        "Eyeglasses": person.glasses,
        "Goatee": person.goatee,
        "Gray_Hair": person.hair_name == "gray" and not bare,
        "Heavy_Makeup": person.makeup,
        "Male": male,
        "Mustache": person.mustache,
        "No_Beard": not (person.mustache or person.goatee or person.beard or person.stubble),
        "Oval_Face": shape.jaw < 2.1,
        "Pale_Skin": min(person.skin) > 190,
        "Receding_Hairline": person.style == "receding" and not person.hat,
        "Rosy_Cheeks": person.blush,
        "Sideburns": person.sideburns,
        "Straight_Hair": person.wave < 0.4 and not bare,
        "Wavy_Hair": person.wave >= 0.4 and not bare,
        "Wearing_Earrings": person.earrings,
        "Wearing_Hat": person.hat,
        "Wearing_Lipstick": person.lipstick,
        "Young": person.years < 40,
    }


COFW_POINTS: tuple[tuple[int, ...], ...] = (
    *((i,) for i in (17, 26, 21, 22)),
    *((18, 19), (24, 25), (19, 20), (23, 24)),
    *((i,) for i in (36, 45, 39, 42)),
    *((37, 38), (43, 44), (40, 41), (46, 47)),
    *((68,), (69,)),
    *((i,) for i in (31, 35, 30, 33, 48, 54, 51, 62, 66, 57, 8)),
)
"""The 29 visibility points as means of iBUG landmarks (68 and 69 are the person's right and left pupil).

Own mapping after COFW's figure: brows (corners, then upper and lower middle), eyes (corners, lids), pupils, nose
(wings, tip, base), mouth (corners, lips), chin; each pair lists the image's left first.
"""


def visibility_points(landmarks: NDArray[np.float64], pupils: NDArray[np.float64]) -> NDArray[np.float64]:
    """Place the 29 points [29,2] from 68 landmarks and two pupils, all in pixels."""
    spots = np.concatenate([landmarks, pupils])
    return np.stack([spots[list(group)].mean(axis=0) for group in COFW_POINTS])
