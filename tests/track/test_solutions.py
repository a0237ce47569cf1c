"""What importing MediaPipe brings along, and what it must not."""

from __future__ import annotations

from tests.test_architecture import loaded_after

FACES = "from lia_live.track.solutions import face_solutions\nface_solutions()\n"


def test_faces_do_not_import_pyplot() -> None:
    """0.35 s of every start; jax and tensorflow would be far worse."""
    loaded = loaded_after(FACES)
    assert "mediapipe.python.solutions.face_mesh" in loaded
    assert not loaded & {"matplotlib.pyplot", "matplotlib.figure", "jax", "tensorflow"}


def test_pyplot_is_there_for_whoever_wants_it() -> None:
    """MediaPipe's own plotting, and a program that plots beside us."""
    program = (
        FACES + "from mediapipe.python.solutions import drawing_utils\n"
        "assert callable(drawing_utils.plt.figure)\n"
        "import matplotlib.pyplot as real\n"
        "assert type(real).__name__ == 'module' and drawing_utils.plt.figure is real.figure\n"
    )
    assert "matplotlib.figure" in loaded_after(program)


def test_a_pyplot_that_is_there_already_stays() -> None:
    program = (
        "import matplotlib.pyplot as before\n" + FACES + "import matplotlib.pyplot as after\n"
        "from mediapipe.python.solutions import drawing_utils\n"
        "assert before is after is drawing_utils.plt\n"
    )
    loaded_after(program)


def test_the_import_ahead_is_the_same_import() -> None:
    program = (
        "from lia_live.track import import_ahead\n"
        "from lia_live.track.solutions import face_solutions\n"
        "thread = import_ahead()\n"
        "found = face_solutions()\n"
        "thread.join()\n"
        "import sys\n"
        "assert found[1] is sys.modules['mediapipe.python.solutions.face_mesh']\n"
    )
    assert "matplotlib.figure" not in loaded_after(program)
