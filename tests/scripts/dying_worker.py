"""A worker that does to its process what the name of the row says, for test_device_test.py."""

import json
import os
import signal
import sys
import time

if __name__ == "__main__":
    answers, order = os.fdopen(int(sys.argv[1]), "w"), json.loads(sys.argv[2])
    for name in order["rows"]:
        print(json.dumps({"row": name}), file=answers, flush=True)
        if name == "die":
            os.kill(os.getpid(), signal.SIGSEGV)
        elif name == "hang":
            time.sleep(60)
        elif name == "leave":
            sys.exit(3)
        print(json.dumps({"row": name, "verdict": "pass", "figure": "1", "seconds": 0.0}), file=answers, flush=True)
