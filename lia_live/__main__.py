"""``python -m lia_live``: the same as ``lia-live``."""

import sys

from lia_live.cli import main

if __name__ == "__main__":
    sys.exit(main())
