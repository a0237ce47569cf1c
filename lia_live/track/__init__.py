"""Pictures and webcam frames to square crops in a model's framing. MediaPipe is imported when a detector is built."""

from lia_live.track.crop import crop_square, framed_box, full_frame_box, tight_box
from lia_live.track.expression import FaceShape, expression
from lia_live.track.solutions import import_ahead
from lia_live.track.steady import SteadyConfig
from lia_live.track.stills import face_box, find_faces
from lia_live.track.tracker import FaceTracker, FullFrameTracker, TrackConfig, open_tracker

__all__ = [
    "FaceShape",
    "FaceTracker",
    "FullFrameTracker",
    "SteadyConfig",
    "TrackConfig",
    "crop_square",
    "expression",
    "face_box",
    "find_faces",
    "framed_box",
    "full_frame_box",
    "import_ahead",
    "open_tracker",
    "tight_box",
]
