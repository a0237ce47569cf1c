"""``lia-live`` in processes that begin with everything imported, so that starting many of them is cheap.

Run as a program. A line of JSON comes in ({"words": [...], "output": path}); out go the new process's number, and
when it has ended its exit code.
"""

import json
import os
import sys

import lightning_fabric  # noqa: F401
import torch.utils.tensorboard  # noqa: F401

import lia_live.train.running  # noqa: F401
from lia_live.cli import main

if __name__ == "__main__":
    print("ready", flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if child == 0:
            output = os.open(request["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(output, 1)
            os.dup2(output, 2)
            os._exit(main(request["words"]))
        print(child, flush=True)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)
