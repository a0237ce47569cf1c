"""Portraits to avatars: any picture read, the face framed, encoded once, kept in one safetensors file."""

from lia_live.avatar.avatar import Avatar
from lia_live.avatar.bundle import read_network
from lia_live.avatar.consent import ANSWERS, SENTENCES, Consent, is_consent
from lia_live.avatar.label import Label, describe, read_label
from lia_live.avatar.picture import Picture, decode_picture, read_picture

__all__ = [
    "ANSWERS",
    "SENTENCES",
    "Avatar",
    "Consent",
    "Label",
    "Picture",
    "decode_picture",
    "describe",
    "is_consent",
    "read_label",
    "read_network",
    "read_picture",
]
