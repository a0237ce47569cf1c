"""The work of ``finetune``: material gathered, network tuned, report written, bundle saved."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from lia_live.avatar import Avatar
from lia_live.avatar.picture import decode_picture
from lia_live.cli.portraits import PICTURES, Portrait, naming
from lia_live.cli.status import StatusLine
from lia_live.errors import MediaError
from lia_live.model import LIA, load_model
from lia_live.train.devices import open_fabric
from lia_live.train.finetune import FinetuneConfig, Outcome, finetune
from lia_live.train.finetune_report import write_report
from lia_live.train.material import Material, from_clip, from_pictures


@dataclass(frozen=True)
class Job:
    """What ``lia-live finetune`` was told."""

    portrait: Portrait
    out: Path
    video: Path | None
    images: Path | None
    base: str
    minutes: float | None
    device: str
    threads: int | None
    face: int | None


def tune(job: Job, line: StatusLine, stop: Callable[[], bool]) -> bool:
    """Do it; False where ``stop`` ended it early (the same command goes on). Raises ``LiaLiveError``."""
    if job.threads is not None:
        torch.set_num_threads(job.threads)
    fabric = open_fabric(job.device, 1, "auto")
    base = load_model(job.base, "cpu")
    avatar = Avatar.from_image(job.portrait.path, base, face=job.face)
    for note in avatar.notes:
        line.say(f"note: {job.portrait.path.name}: {note}")
    try:
        material = _gather(job, avatar, base, fabric.device, line, stop)
    except KeyboardInterrupt:
        return False
    line.say(f"{material.kind}, on {fabric.device.type}")
    config = FinetuneConfig() if job.minutes is None else FinetuneConfig(minutes=job.minutes)
    folder = job.out.with_name(f"{job.out.stem}.finetune")
    outcome = finetune(
        material,
        base,
        folder,
        config,
        fabric=fabric,
        line=line.say,
        status=line.show,
        stop=stop,
    )
    if outcome is None:
        return False
    line.clear()
    report = write_report(folder, outcome, material, _command(job), base)
    _save(job, outcome, base)
    line.say(f"{'tuned' if outcome.network else 'base kept'}: {outcome.reason}")
    line.say(f"tested on {material.tested_on}")
    line.say(f"{job.out}: {job.out.stat().st_size / 1e6:.1f} MB; before and after: {report}")
    return True


def _gather(
    job: Job,
    avatar: Avatar,
    base: LIA,
    device: torch.device,
    line: StatusLine,
    stop: Callable[[], bool],
) -> Material:
    from lia_live.train.prepare_clips import prepare_pieces
    from lia_live.train.prepare_config import ClipConfig, PrepareConfig
    from lia_live.train.prepare_portrait import prepare_portrait

    size, framing = base.config.size, base.config.framing
    if job.video is not None:
        line.show(f"looking for the face in {job.video.name}; Ctrl-C stops")
        clips = ClipConfig(side=size, max_s=60.0)
        config = PrepareConfig(side=size, framing=framing, clips=clips)
        with naming(job.video):
            pieces, remarks = prepare_pieces(job.video, config, stop=stop)
        for remark in remarks:
            line.say(f"left out: {remark}")
        return from_clip(avatar, pieces, device)
    if job.images is None:
        return from_pictures(avatar, (), device)
    files = sorted(f for f in job.images.glob("*") if f.suffix.lower() in PICTURES)
    if not files:
        raise MediaError(
            f"no photographs in {job.images}", f"put {', '.join(PICTURES)} files there"
        )
    config = PrepareConfig(side=size, framing=framing, max_border=0.3)
    others = []
    for file in files:
        try:
            others.append(prepare_portrait(decode_picture(file).pixels, config, name=file.name))
        except MediaError as error:
            line.say(f"left out: {file.name}: {error.message}")
    return from_pictures(avatar, others, device)


def _save(job: Job, outcome: Outcome, base: LIA) -> None:
    """The bundle: with the tuned network, or for the base; a base of one's own travels along too."""
    carry = outcome.network is not None or job.base != "default"
    model = (outcome.network or base).cpu()
    avatar = Avatar.from_image(job.portrait.path, model, face=job.face, carry=carry)
    avatar.with_consent(job.portrait.consent).save(job.out)


def _command(job: Job) -> str:
    """What was typed, as far as it decides the result."""
    words = ["lia-live finetune --avatar", job.portrait.path.name]
    for flag, path in (("--video", job.video), ("--images", job.images)):
        if path is not None:
            words += [flag, path.name]
    if job.base != "default":
        words += ["--base", Path(job.base).name]
    if job.minutes is not None:
        words += ["--minutes", f"{job.minutes:g}"]
    return " ".join([*words, "--out", job.out.name])
