"""A page to drop pictures on: what the network says to each, how sure it is, and where it sees it.

python -m src.demo --model FILE [--host 127.0.0.1] [--port 8000] [--top 5]

FILE is a checkpoint of train.py or convert_weights, or an ONNX model. The page is for this machine alone unless --host
names another of its addresses, such as 0.0.0.0 for all of them: whoever reaches it may use it. No picture is kept.
Ctrl-C ends it.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from src.demo.app import make_app, make_server, warm_up
from src.deploy.model import load_model
from src.utils.arguments import Parser
from src.utils.errors import UsageError, run


def main(argv: Sequence[str]) -> None:
    """Serve the page as the command line `argv` says, until a signal ends it."""
    parser = Parser("python -m src.demo --model FILE [--host 127.0.0.1] [--port 8000] [--top 5]", __doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--top", type=int, default=5)
    asked = parser.parse_args(argv)
    if not 0 <= asked.port <= 65535:
        raise UsageError(f"found port {asked.port}, expected a number from 0 (any free one) to 65535")
    if asked.top < 1:
        raise UsageError(f"found top {asked.top}, expected a number from 1")
    model = load_model(asked.model, heat_maps=True)
    server = make_server(make_app(model, asked.top), asked.host, asked.port)
    warm_up(model)
    print(f"open http://{asked.host}:{server.effective_port}/ in a browser; Ctrl-C ends this", flush=True)
    try:
        server.run()
    finally:
        server.close()


if __name__ == "__main__":
    sys.exit(run(main))
