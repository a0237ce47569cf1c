"""For every test: one torch thread. Two of them on two busy cores wait for each other, a hundred times longer."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported; child processes inherit it
