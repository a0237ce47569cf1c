"""What this machine can do, checked part by part. A check never raises: it says what is missing.

Nothing is changed on the machine; cameras are looked at, not opened, where the system can list them.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lia_live.errors import DeviceError, LiaLiveError

State = Literal["ok", "missing", "broken"]

JOIN_VIDEO_GROUP = 'run: sudo usermod -aG video "$USER", then log out and in again'

_FEATURES = {
    "avx2": "AVX2",
    "avx512f": "AVX-512",
    "avx512_bf16": "AVX-512 bf16",
    "amx_tile": "AMX",
    "amx_bf16": "AMX bf16",
    "asimd": "NEON",
    "bf16": "bf16",
}


@dataclass(frozen=True)
class Finding:
    """The result of one check."""

    part: str
    """"camera", "virtual camera", ..."""
    state: State
    detail: str
    """What was found, one line."""
    to_do: str = ""
    """The line that mends it; empty where all is well."""
    required: bool = False
    """Without it nothing works at all."""


def check_all() -> list[Finding]:
    """Every check, in the order a frame meets the parts."""
    checks: tuple[tuple[str, bool, Callable[[], Finding]], ...] = (
        ("system", False, check_system),
        ("cpu", False, check_cpu),
        ("gpu", False, check_gpu),
        ("engines", False, check_engines),
        ("model", True, check_model),
        ("face tracker", True, check_tracker),
        ("video files", True, check_video_files),
        ("camera", False, check_cameras),
        ("virtual camera", False, check_virtual_camera),
        ("preview window", False, check_preview),
        ("demo", False, check_demo),
    )
    return [_guarded(part, required, check) for part, required, check in checks]


def _guarded(part: str, required: bool, check: Callable[[], Finding]) -> Finding:
    """A check that fails in a way nobody thought of is a finding too; the others still run."""
    try:
        return check()
    except LiaLiveError as error:
        return Finding(part, "broken", error.message, error.hint, required)
    except Exception as error:  # a broken native library raises anything
        reinstall = "install lia-live again in a fresh environment"
        return Finding(part, "broken", f"{type(error).__name__}: {error}", reinstall, required)


def check_system() -> Finding:
    """Python, the system and its memory."""
    import psutil

    memory = psutil.virtual_memory()
    detail = (
        f"Python {platform.python_version()}, {platform.system()} {platform.release()}, "
        f"{memory.available / 2**30:.1f} of {memory.total / 2**30:.1f} GiB memory free"
    )
    if memory.available < 2**30:
        return Finding("system", "missing", detail, "close other programs: 1 GiB should be free")
    return Finding("system", "ok", detail)


def check_cpu() -> Finding:
    """Cores that this process may use, and the instructions that make the network fast."""
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    found = cpu_features()
    detail = f"{cores} cores, {', '.join(found) or 'no wide instructions'}"
    if platform.machine().lower() in ("x86_64", "amd64") and found and "AVX2" not in found:
        return Finding("cpu", "missing", f"{detail}; no AVX2", "expect a slow picture; use a GPU")
    if cores < 2:
        return Finding("cpu", "missing", detail, "two cores are needed for a live picture")
    return Finding("cpu", "ok", detail)


def cpu_features() -> list[str]:
    """The instruction sets that matter here, by the names people know; empty where unknown."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        import torch

        return [torch.backends.cpu.get_cpu_capability()]
    lines = (line for line in text.splitlines() if line.lower().startswith(("flags", "features")))
    flags = set(next(lines, "").split())
    return [name for flag, name in _FEATURES.items() if flag in flags]


def check_gpu() -> Finding:
    """CUDA or Metal as torch sees it; says so where a GPU is there but torch cannot use it."""
    import torch

    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        return Finding("gpu", "ok", f"cuda: {', '.join(names)}")
    if torch.backends.mps.is_available():
        return Finding("gpu", "ok", "mps: Apple GPU")
    if shutil.which("nvidia-smi"):
        built = torch.version.cuda or "no CUDA"
        return Finding(
            "gpu",
            "broken",
            f"an NVIDIA driver is here, but torch (built for {built}) cannot use it",
            "install the CUDA build of torch, see Install in the README; until then: --device cpu",
        )
    return Finding("gpu", "missing", "none: everything runs on the CPU", "not needed, only faster")


def check_engines() -> Finding:
    """What can run the network on the CPU; OpenVINO is worth having on x86 and is really loaded, to see."""
    from lia_live.render import available, openvino_runtime

    ways = ", ".join(str(way) for way in available())
    if openvino_runtime.installed():
        openvino_runtime.load()
    elif platform.machine().lower() in ("x86_64", "amd64"):
        to_do = 'for a quicker picture: pip install "lia-live[openvino]"'
        return Finding("engines", "missing", f"{ways}; no openvino", to_do)
    return Finding("engines", "ok", ways)


def check_model() -> Finding:
    """The shipped weights are there and load."""
    from lia_live.model import load_model

    model = load_model("default", device="cpu")
    size = f"{model.config.size}x{model.config.size}"
    return Finding(
        "model",
        "ok",
        f"{model.name}, {size}, fingerprint {model.fingerprint}, {model.licence}",
        required=True,
    )


def check_tracker() -> Finding:
    """mediapipe loads its face models and runs on an empty picture."""
    import mediapipe
    import numpy as np

    from lia_live.track import find_faces

    faces = find_faces(np.full((256, 256, 3), 128, np.uint8))
    detail = f"mediapipe {mediapipe.__version__} runs"
    if faces:
        return Finding(
            "face tracker",
            "broken",
            f"{detail}, but sees a face in an empty picture",
            "install lia-live again in a fresh environment",
            required=True,
        )
    return Finding("face tracker", "ok", detail, required=True)


def check_video_files() -> Finding:
    """The codecs inside av (its own ffmpeg: none needs to be installed)."""
    import av
    from av.codec import codecs_available

    detail = f"av {av.__version__}"
    need = {"h264": "reading H.264", "aac": "sound"}
    missing = [use for codec, use in need.items() if codec not in codecs_available]
    writers = [name for name in ("libx264", "libopenh264", "mpeg4") if name in codecs_available]
    if missing or not writers:
        lacks = ", ".join(missing + ([] if writers else ["writing mp4"]))
        return Finding(
            "video files",
            "broken",
            f"{detail} lacks {lacks}",
            "install av from its binary wheel",
            required=True,
        )
    return Finding("video files", "ok", f"{detail}, writes mp4 with {writers[0]}", required=True)


def check_cameras() -> Finding:
    """Cameras to capture from. They are listed, not opened: nobody's light goes on."""
    from lia_live.io import list_cameras

    found = list_cameras()
    if found:
        return Finding("camera", "ok", ", ".join(map(str, found)))
    locked = locked_devices(Path("/dev"))
    if locked:
        detail = f"this user may not open {', '.join(locked)}"
        return Finding("camera", "broken", detail, JOIN_VIDEO_GROUP)
    to_do = "plug one in, or play a file: --camera clip.mp4"
    return Finding("camera", "missing", "none is connected", to_do)


def check_virtual_camera() -> Finding:
    """A virtual camera to send to, or the exact line that makes one."""
    from lia_live.io import setup_hint, virtual_cameras

    if sys.platform.startswith("linux"):
        names = [f"{node.path} ({node.name})" for node in virtual_cameras()]
    else:
        import pyvirtualcam

        try:
            with pyvirtualcam.Camera(width=1280, height=720, fps=30) as camera:
                names = [str(camera.device)]
        except RuntimeError:
            names = []
    if names:
        return Finding("virtual camera", "ok", ", ".join(names))
    to_do = setup_hint()
    if sys.platform.startswith("linux") and not kernel_has_loopback():
        to_do = f"sudo apt install v4l2loopback-dkms, then {to_do}"
    return Finding("virtual camera", "missing", "none is set up", to_do)


def kernel_has_loopback() -> bool:
    """Whether the running kernel can load v4l2loopback."""
    try:
        listing = Path("/lib/modules", platform.release(), "modules.dep").read_text(
            encoding="utf-8"
        )
    except OSError:
        return False
    return "v4l2loopback.ko" in listing


def locked_devices(devices: Path) -> list[str]:
    """The video devices in a /dev folder that this user may not open."""
    return [
        str(node)
        for node in sorted(devices.glob("video[0-9]*"))
        if not os.access(node, os.R_OK | os.W_OK)
    ]


def check_preview() -> Finding:
    """Whether a window can open; the first one is opened by a child."""
    from lia_live.io.preview import check_display

    try:
        check_display()
    except DeviceError as error:
        to_do = f"only --output preview needs one: {error.hint}"
        return Finding("preview window", "missing", error.message, to_do)
    return Finding("preview window", "ok", "a window can be opened")


def check_demo() -> Finding:
    """The shipped portrait and driver clip."""
    from lia_live.cli.assets import DEMO_AVATAR, DEMO_DRIVER

    lost = [path.name for path in (DEMO_AVATAR, DEMO_DRIVER) if not path.is_file()]
    if lost:
        return Finding(
            "demo", "missing", f"not shipped: {', '.join(lost)}", "install lia-live again"
        )
    return Finding("demo", "ok", f"{DEMO_AVATAR.name} and {DEMO_DRIVER.name} are here")


def usable(findings: Iterable[Finding]) -> bool:
    """Whether the main job can run at all."""
    return all(finding.state == "ok" for finding in findings if finding.required)
