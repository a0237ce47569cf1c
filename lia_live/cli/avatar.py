"""``lia-live avatar build|info``: a picture encoded once into a bundle; what a bundle holds."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from lia_live.cli.flags import add_consent_flag, add_model_flags, model_settings
from lia_live.cli.interrupts import Interrupts
from lia_live.cli.parser import Command, Parser
from lia_live.cli.targets import check_target
from lia_live.errors import ConfigError


def _add_build(parser: Parser) -> None:
    parser.add_argument("picture", type=Path, help="JPEG, PNG, WebP: a portrait")
    parser.add_argument(
        "--out", type=Path, metavar="FILE.avatar", help="default: beside the picture"
    )
    parser.add_argument("--face", type=int, metavar="N", help="which face, 1 is the largest")
    parser.add_argument("--name", help="how the avatar is called (default: the picture's name)")
    parser.add_argument(
        "--keep-mouth",
        action="store_true",
        default=False,
        help="encode it as it is: no other lips, no teeth, no hair closed; for masks, statues, drawings",
    )
    add_consent_flag(parser)
    add_model_flags(parser)


def _build(flags: argparse.Namespace, interrupts: Interrupts) -> int:
    from lia_live.cli.consent import ConsentBook
    from lia_live.cli.portraits import BUNDLE, open_portrait, settle_portraits

    picture: Path = flags.picture
    out: Path = getattr(flags, "out", picture.with_suffix(BUNDLE))
    if out.suffix.lower() != BUNDLE:
        raise ConfigError(f"{out} does not end in {BUNDLE}", f"name a {BUNDLE} file after --out")
    if picture.suffix.lower() == BUNDLE:
        raise ConfigError(
            f"{picture} is a bundle already", f"`lia-live avatar info {picture}` shows it"
        )
    settings = model_settings(flags)
    check_target(out, [picture])
    consent = getattr(flags, "consent", None)
    portrait = settle_portraits([picture], consent, ConsentBook(), interrupts)[0]
    with interrupts.deferred():
        from lia_live.model import load_model

        model = load_model(settings.weights, settings.device)
    with interrupts.deferred():
        face = getattr(flags, "face", None)
        avatar = open_portrait(portrait, model, face=face, keep_mouth=flags.keep_mouth)
        avatar.save(out)
    print(
        f"{out}: avatar {avatar.name} for model {avatar.fingerprint}, {out.stat().st_size / 1e6:.1f} MB"
    )
    return 0


def _add_info(parser: Parser) -> None:
    parser.add_argument("bundle", type=Path, help="a .avatar file")
    parser.add_argument("--json", action="store_true", default=False, help="for other programs")


def _info(flags: argparse.Namespace, interrupts: Interrupts) -> int:
    from lia_live.avatar import SENTENCES, describe

    about = describe(flags.bundle)
    if flags.json:
        print(json.dumps(about, indent=1))
        return 0
    size = about["size"]
    answers = {str(answer): sentence for answer, sentence in SENTENCES.items()}
    print(f"avatar:      {about['name']}, {size}x{size}, {about['bytes'] / 1e6:.1f} MB")
    print(f"model:       {about['model']}, fingerprint {about['fingerprint']}")
    carried = about["network"]
    if carried is not None:
        million = carried["parameters"] / 1e6
        print(f"network:     its own, {carried['name']}, {million:.1f} million parameters")
        print(f"licence:     {carried['licence'] or 'none given'}")
    print(f"consent:     {answers.get(about['consent'], 'not answered yet')}")
    print(f"created by:  {about['created_by']}")
    return 0


BUILD = Command(
    "avatar build", "a picture into an .avatar bundle, encoded once", _add_build, _build
)
INFO = Command("avatar info", "what a bundle holds", _add_info, _info)
