"""Whose portrait it is. The answer is stored with the bundle; asking is the command line's business."""

from __future__ import annotations

from typing import Final, Literal, TypeGuard, get_args

Consent = Literal["me", "permission", "not-a-person"]
"""What a person answers when a portrait is used for the first time."""

ANSWERS: Final[tuple[Consent, ...]] = get_args(Consent)

SENTENCES: Final[dict[Consent, str]] = {
    "me": "It is a picture of the person who uses it.",
    "permission": "The person in the picture has agreed to this use.",
    "not-a-person": "The picture shows no living person: drawn, generated, or long in the public domain.",
}
"""Each answer as a sentence that can be shown."""


def is_consent(answer: object) -> TypeGuard[Consent]:
    """Is this one of the three answers?"""
    return answer in ANSWERS
