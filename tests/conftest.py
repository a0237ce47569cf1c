"""For every test: one torch thread. Two of them on two busy cores wait for each other, a hundred times longer."""

import os

# Before torch is imported; child processes inherit it.
os.environ.setdefault("OMP_NUM_THREADS", "1")
