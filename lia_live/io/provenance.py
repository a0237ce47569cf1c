"""What a recording says about itself: made by AI. Tags every player shows, and the IPTC's own term as XMP."""

from __future__ import annotations

import uuid
from typing import Final
from xml.sax.saxutils import quoteattr

DIGITAL_SOURCE_TYPE: Final = (
    "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
)
"""IPTC's term for media made by a trained model; platforms look for it to label AI content."""

NOTICE: Final = "AI-generated: the person shown is an avatar animated by lia-live"

_XMP_BOX: Final = uuid.UUID("be7acfcb-97a9-42e8-9c71-999491e3afac")
"""The box type under which the XMP standard (part 3) puts its packet in MP4 and MOV files."""


def tags() -> dict[str, str]:
    """Container tags: they stand in the file's first bytes, so a recording that was killed has them too."""
    return {
        "comment": f"{NOTICE}. digitalSourceType: {DIGITAL_SOURCE_TYPE}",
        "description": NOTICE,
        "synopsis": f"digitalSourceType: {DIGITAL_SOURCE_TYPE}",
    }


def xmp() -> str:
    """The XMP packet that names the digital source type."""
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
        '<x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description rdf:about=""'
        ' xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"'
        ' xmlns:xmp="http://ns.adobe.com/xap/1.0/"'
        f" Iptc4xmpExt:DigitalSourceType={quoteattr(DIGITAL_SOURCE_TYPE)}"
        ' xmp:CreatorTool="lia-live"/>'
        "</rdf:RDF></x:xmpmeta>"
        '<?xpacket end="w"?>'
    )


def xmp_box() -> bytes:
    """The same as a top-level MP4 box, ready to be appended to a finished file."""
    body = _XMP_BOX.bytes + xmp().encode()
    return (8 + len(body)).to_bytes(4, "big") + b"uuid" + body
