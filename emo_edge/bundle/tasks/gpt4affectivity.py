"""The affective tasks of GPT4Affectivity as data, untrained: what a checkpoint's own tasks begin from.

Prompts are those of its figures (LuPaoPao/GPT4Affectivity, ``Fig/*.pdf``), word for word; labels that a prompt names
are places in it. It has no choice between basic or compound expressions, and no prompt for deception. Its prompt for
the heart rate asks the model to write a program: here the number is measured, and the question is this project's own.
"""

from __future__ import annotations

from emo_edge.bundle.tasks.section import AffectiveTask, TaskName, TaskQuestions
from emo_edge.taxonomy import LABEL_SETS

MICRO_EXPRESSIONS = ("disgust", "fear", "happiness", "repression", "sadness", "surprise")
"""CASME II's names of the six options that the prompt lists, in its order."""
MICRO_GESTURES = (
    "turtle neck",
    "bulging face, deep breath",
    "touching hat",
    "touching or scratching head",
    "touching or scratching forehead",
    "covering face",
    "rubbing eyes",
    "touching or scratching facial parts",
    "touching ears",
    "biting nails",
    "touching jaw",
    "touching or scratching neck",
    "playing or adjusting hair",
    "buckle button, pulling shirt collar, adjusting tie",
    "touching or covering suprasternal notch",
    "scratching back",
    "folding arms",
    "dustoffing clothes",
    "putting arms behind body",
    "moving torso",
    "sitting straightly",
    "scratching or touching arms",
    "rubbing or holding hands",
    "crossing fingers",
    "minaret gesture",
    "playing or manipulating objects",
    "hold back arms",
    "head up",
    "pressing lips",
    "arms akimbo",
    "shaking shoulders",
    "illustrative body language",
)
"""iMiGUE's 32 classes, in its order."""
NO_SIGN_OF_LYING = "No facial sign of lying is known. No program can tell from a face whether a person lies."
SHOWN_NOT_FELT = "A facial expression is not a feeling: this is what a face shows, not what a person feels."
NO_MEDICAL_DEVICE = "Not a medical device. The number is measured from the colour of the skin, not by the model."

TASKS: dict[TaskName, AffectiveTask] = {
    "au": AffectiveTask(
        questions=TaskQuestions(
            open="Please describe the image, and describe the person's facial unit. (Open-Ended Question)"
        ),
        judgement_by="head",
        status="untrained",
        notice="Action units are movements of muscles, no feelings.",
    ),
    "expression": AffectiveTask(
        questions=TaskQuestions(
            judgement="Please describe the image, and determine if the person's expression is {label}?"
        ),
        labels=LABEL_SETS["rafdb7"],
        status="untrained",
        notice=SHOWN_NOT_FELT,
    ),
    "compound": AffectiveTask(
        questions=TaskQuestions(
            judgement="Please describe the image, and determine if the person's expression is {label}?"
        ),
        labels=LABEL_SETS["rafdb-compound11"],
        status="untrained",
        notice=SHOWN_NOT_FELT,
    ),
    "micro-expression": AffectiveTask(
        questions=TaskQuestions(
            open="Please describe the image sequence, and describe the person's micro-expressions.",
            choice="Please describe the image sequence, and Which better describes this expression? Hated? Fear? "
            "Happy? Repress? Sad? What a surprise?",
            judgement="Please describe the image sequence, and determine if the person's expression is {label}?",
        ),
        labels=MICRO_EXPRESSIONS,
        frames="onset-apex-offset",
        status="untrained",
        notice=SHOWN_NOT_FELT,
    ),
    "micro-gesture": AffectiveTask(
        questions=TaskQuestions(
            open="Please describe the image sequence, and describe the person's micro gesture.",
            choice="Please describe the image sequence, and which better describes this micro gesture? {options}",
            judgement="Please describe the image sequence, and determine if the person is {label}?",
        ),
        labels=MICRO_GESTURES,
        frames="clip",
        crop="whole",
        status="untrained",
        notice="Gestures of the body: a face's crop cannot hold them.",
    ),
    "deception": AffectiveTask(
        labels=("truthful", "deceptive"), frames="clip", crop="whole", status="untrained", notice=NO_SIGN_OF_LYING
    ),
    "heart-rate": AffectiveTask(
        questions=TaskQuestions(open="What is the heart rate of the person in the {medium}? {measurement}"),
        frames="clip",
        status="research-only",
        notice=NO_MEDICAL_DEVICE,
    ),
}
"""By name."""
