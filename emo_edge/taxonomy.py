"""The closed vocabularies of the field: label sets, action units, landmark regions, face heads.

Orders are the upstream orders, because a checkpoint's output rows follow them.
"""

EXPRESSIONS = ("neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger", "contempt")
"""AffectNet's eight expressions in its label order 0..7."""

LABEL_SETS: dict[str, tuple[str, ...]] = {
    "rafdb7": ("surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral"),
    "affectnet8": EXPRESSIONS,
    "ferplus8": ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt"),
    "dfew7": ("happiness", "sadness", "neutral", "anger", "surprise", "disgust", "fear"),
    "ferv39k7": ("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise"),
    "mafw11": (
        "anger",
        "disgust",
        "fear",
        "happiness",
        "neutral",
        "sadness",
        "surprise",
        "contempt",
        "anxiety",
        "helplessness",
        "disappointment",
    ),
    "rafdb-compound11": (
        "happily surprised",
        "happily disgusted",
        "sadly fearful",
        "sadly angry",
        "sadly surprised",
        "sadly disgusted",
        "fearfully angry",
        "fearfully surprised",
        "angrily surprised",
        "angrily disgusted",
        "disgustedly surprised",
    ),
}
"""Closed-set classification labels by dataset, in that dataset's label order, as nouns where it prints adjectives."""

ADJECTIVES = {
    "happy": "happiness",
    "sad": "sadness",
    "angry": "anger",
    "surprised": "surprise",
    "fearful": "fear",
    "disgusted": "disgust",
}
"""Labels of data sets where ours is a noun."""

ACTION_UNITS = (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17, 20, 23, 24, 25, 26)
"""FACS action units that the synthetic faces drive, by number."""

FACS_UNITS = (*range(1, 8), *range(9, 29), *range(29, 40), 43, 45, 46)
"""Numbers of the Facial Action Coding System: units of the face, and descriptors of jaw, lips and eyes."""

LANDMARK_REGIONS: dict[str, tuple[int, int]] = {
    "jaw": (0, 17),
    "right_brow": (17, 22),
    "left_brow": (22, 27),
    "nose_bridge": (27, 31),
    "nose_base": (31, 36),
    "right_eye": (36, 42),
    "left_eye": (42, 48),
    "outer_lips": (48, 60),
    "inner_lips": (60, 68),
}
"""The nine regions of the 68 iBUG landmarks as half-open index ranges; left and right are the person's own."""

AGE_BINS = ("0-9", "10-19", "20-29", "30-39", "40-49", "50-59", "60-69", "70+")
"""FaceXFormer's age classes (author's reply, facexformer issue #5)."""

GENDERS = ("Male", "Female")
"""FaceXFormer's gender classes (facexformer issue #5)."""

RACES = ("White", "Black", "Indian", "Asian", "Others")
"""FaceXFormer's race classes (facexformer issue #5; a public fork swaps Indian and Asian)."""

PARSING_CLASSES = (
    "background",
    "skin",
    "left_eyebrow",
    "right_eyebrow",
    "left_eye",
    "right_eye",
    "nose",
    "upper_lip",
    "inner_mouth",
    "lower_lip",
    "hair",
)
"""FaceXFormer's segmentation classes, LaPa's list."""

CELEBA_ATTRIBUTES = (
    "5_o_Clock_Shadow",
    "Arched_Eyebrows",
    "Attractive",
    "Bags_Under_Eyes",
    "Bald",
    "Bangs",
    "Big_Lips",
    "Big_Nose",
    "Black_Hair",
    "Blond_Hair",
    "Blurry",
    "Brown_Hair",
    "Bushy_Eyebrows",
    "Chubby",
    "Double_Chin",
    "Eyeglasses",
    "Goatee",
    "Gray_Hair",
    "Heavy_Makeup",
    "High_Cheekbones",
    "Male",
    "Mouth_Slightly_Open",
    "Mustache",
    "Narrow_Eyes",
    "No_Beard",
    "Oval_Face",
    "Pale_Skin",
    "Pointy_Nose",
    "Receding_Hairline",
    "Rosy_Cheeks",
    "Sideburns",
    "Smiling",
    "Straight_Hair",
    "Wavy_Hair",
    "Wearing_Earrings",
    "Wearing_Hat",
    "Wearing_Lipstick",
    "Wearing_Necklace",
    "Wearing_Necktie",
    "Young",
)
"""The 40 CelebA attributes in CelebA's order, which FaceXFormer's attribute head follows (issue #7)."""

VISIBILITY_POINTS = 29
"""COFW's landmark count: FaceXFormer's visibility head has one logit per point.

1 = not visible by its author's replies (issues 7 and 10 of Kartik-3004/facexformer), who also says that the points have
no coordinates. Unverified: upstream's code does not say it, and nobody here ran the released weights. emo-tiny learnt
it so.
"""

TASKS = ("au", "expression", "compound", "micro-expression", "micro-gesture", "deception", "heart-rate")
"""Affective tasks by name: those of GPT4Affectivity (arXiv 2403.05916), its tool step last."""

TASK_ANSWERS = ("open", "choice", "judgement")
"""Ways to answer a task: a text, one label of several, whether one label holds."""

PURPOSES = ("research", "medical", "safety", "entertainment", "other")
"""Purposes that a deployment states."""
