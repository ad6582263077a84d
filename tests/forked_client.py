"""What stands in the place of an interpreter, see `Forks.interpreter`: has a command forked, and ends as it does.

forked_client.py SOCKET COMMAND.py ARGUMENT...
"""

import json
import os
import socket
import sys

name, *argv = sys.argv[1:]
with socket.socket(socket.AF_UNIX) as connection, connection.makefile("rw") as lines:
    connection.connect(f"\0{name}")
    outputs = [f"/proc/{os.getpid()}/fd/{number}" for number in (1, 2)]
    asked = {"argv": argv, "cwd": os.getcwd(), "environment": dict(os.environ), "outputs": outputs}  # noqa: PTH109
    print(json.dumps(asked), file=lines, flush=True)
    status = int(lines.readline())
sys.exit(status if status >= 0 else 128 - status)
