"""The network as two ONNX files, for other runtimes: what encodes a picture, and what renders one."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from lia_live.errors import ConfigError, StorageError
from lia_live.model.layers import EqualConv2d
from lia_live.model.lia import LIA
from lia_live.model.weights_file import write_atomically
from lia_live.render import graph
from lia_live.render.folding import Styles, constant_input, motion_head, scaled
from lia_live.render.onnx_ops import OnnxOps

ENCODER, RENDERER = "encoder.onnx", "renderer.onnx"


def export_onnx(model: LIA, folder: str | Path) -> tuple[Path, Path]:
    """Write ``encoder.onnx`` and ``renderer.onnx`` into ``folder``, which is made if it is not there.

    encoder: picture (N, 3, S, S) in [-1, 1], RGB -> motion (N, motion_dim), latent (N, latent_dim), and
    features_8 ... features_S (N, C(r), r, r). An avatar needs all of them once, a driving frame only ``motion``.
    renderer: latent and features of the avatar, motion (absolute) -> picture (N, 3, S, S), not clamped.
    All float32, N at will (one N for all inputs of a call). Name, licence and framing are in the metadata.

    Raises ``ConfigError`` where the package onnx is missing, ``StorageError`` for no space or no permission.
    """
    onnx = _onnx()
    folder = Path(folder)
    with torch.inference_mode():
        drawn = {ENCODER: _encoder(onnx, model), RENDERER: _renderer(onnx, model)}
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise StorageError(
            f"the folder {folder} cannot be made ({error.strerror})", "name another after --onnx"
        ) from error
    for name, content in drawn.items():
        write_atomically(folder / name, content.SerializeToString())
    return folder / ENCODER, folder / RENDERER


def _onnx() -> Any:
    try:
        import onnx
    except ImportError as error:
        raise ConfigError(
            "the export needs the package onnx, which is not installed",
            'install it: pip install "lia-live[onnx]"',
        ) from error
    return onnx


def _encoder(onnx: Any, model: LIA) -> Any:
    config = model.config
    ops = OnnxOps(onnx)
    picture = ops.parameter("picture", 3, config.size, config.size)
    coarsest, features = graph.encoder(ops, model, picture, 1.0)
    head = model.enc.net_app.convs[-1]
    assert isinstance(head, EqualConv2d)
    latent = ops.affine(ops.flat(coarsest), scaled(head).flatten(1).T)
    motion = ops.affine(latent, *motion_head(model.enc.fc, config.latent_dim))
    ops.result(motion, "motion", config.motion_dim)
    ops.result(latent, "latent", config.latent_dim)
    for r, feature in zip(config.resolutions(), features, strict=True):
        ops.result(feature, f"features_{r}", config.channels(r), r, r)
    return ops.model("lia_encoder", _notes(model))


def _renderer(onnx: Any, model: LIA) -> Any:
    config = model.config
    ops = OnnxOps(onnx)
    styles, start = Styles(model), graph.by_channel(constant_input(model.dec))
    latent = ops.parameter("latent", config.latent_dim)
    motion = ops.parameter("motion", config.motion_dim)
    features = [
        ops.parameter(f"features_{r}", config.channels(r), r, r) for r in config.resolutions()
    ]
    moved = ops.add(latent, ops.affine(motion, styles.basis.T))
    each = ops.affine(moved, styles.rows.T, styles.offsets)
    first = styles.sizes[0]
    # conv1 of the constant is affine in its style, and so in the code
    begin = ops.affine(moved, (start @ styles.rows[:first]).T, start @ styles.offsets[:first])
    features[-1] = ops.projected(features[-1], graph.projection(model))
    begin = ops.maps(begin, config.channels(4), 4)
    picture = graph.synthesis(ops, model, each, begin, features)
    ops.result(picture, "picture", 3, config.size, config.size)
    return ops.model("lia_renderer", _notes(model))


def _notes(model: LIA) -> dict[str, str]:
    return {
        "name": model.name,
        "licence": model.licence,
        "fingerprint": model.fingerprint,
        "config": json.dumps(asdict(model.config), sort_keys=True),
        "directions": json.dumps([asdict(direction) for direction in model.directions]),
    }
