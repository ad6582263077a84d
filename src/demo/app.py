"""The demo's server: one page, and the answers to the pictures that it sends. Flask, behind waitress."""

import io
import threading
import time

import numpy as np
from flask import Flask, Response, render_template, request
from PIL import Image
from waitress import create_server
from waitress.server import BaseWSGIServer
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from src.datasets.pictures import picture_in
from src.datasets.preview import shown_pixels
from src.deploy.model import Model
from src.utils.data_url import data_url
from src.utils.errors import ReportedError
from src.utils.heat import overlay

MAX_BYTES = 25 * 2**20
MAX_PIXELS = 50_000_000  # decoding takes 3 bytes for each, or more
_SIDE = 320  # pixels of a heat map
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'; "
    "script-src 'unsafe-inline'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


def make_app(model: Model, top: int) -> Flask:
    """The application. model: loaded with heat_maps; it answers one picture at a time, with its `top` classes."""
    app = Flask(__name__, static_folder=None, template_folder=".")
    app.config["MAX_CONTENT_LENGTH"] = MAX_BYTES
    one_at_a_time = threading.Lock()

    @app.get("/")
    def page() -> str:
        return render_template("page.html", name=model.path.name, classes=len(model.class_names))

    @app.post("/answer")
    def answer() -> dict:
        data = request.get_data(cache=False)
        with one_at_a_time:
            return answer_to(model, data, top)

    @app.errorhandler(ReportedError)
    def reported(error: ReportedError) -> tuple[dict, int]:
        return {"error": str(error)}, 400

    @app.errorhandler(RequestEntityTooLarge)
    def too_large(_: RequestEntityTooLarge) -> tuple[dict, int]:
        return {"error": f"the picture has more than {MAX_BYTES // 2**20} MiB; send a smaller one"}, 413

    @app.errorhandler(HTTPException)
    def refused(error: HTTPException) -> tuple[dict, int]:
        return {"error": f"{error.name}: this server has the page / and takes pictures at /answer"}, error.code or 500

    @app.after_request
    def protect(response: Response) -> Response:
        response.headers.update(_HEADERS)
        return response

    return app


def make_server(app: Flask, host: str, port: int) -> BaseWSGIServer:
    """A server of `app` that listens already. Raises ReportedError when it cannot listen there."""
    try:
        # A body that is too large is read no further: one byte more than the application takes.
        return create_server(app, host=host, port=port, threads=4, max_request_body_size=MAX_BYTES + 1, ident=None)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ReportedError(
            f"cannot listen on {host}, port {port}: {reason}; give another --port, or 0 for any free one"
        ) from error


def answer_to(model: Model, data: bytes, top: int) -> dict:
    """The answer to a picture's bytes as the page reads it. Raises ReportedError for what is no usable picture."""
    if not data:
        raise ReportedError("the picture has no bytes; send a picture")
    source = picture_in(data, "the picture")
    width, height = Image.open(io.BytesIO(data)).size
    if width * height > MAX_PIXELS:
        raise ReportedError(
            f"the picture has {width} x {height} pixels, more than the limit of {MAX_PIXELS:,}; send a smaller one"
        )
    start = time.perf_counter()
    (found,) = model.answers(source, top=top, batch_size=1, workers=1, with_heat=True)
    milliseconds = 1000 * (time.perf_counter() - start)
    pixels = shown_pixels(found.image, model.preprocessing)
    return {
        "answers": [{"class": name, "probability": probability} for name, probability in model.named(found)],
        "milliseconds": round(milliseconds, 1),
        "seen": _picture(pixels),
        "heat": _picture(overlay(pixels, found.heat)),
    }


def warm_up(model: Model) -> None:
    """Let the model compile what it compiles at its first answer."""
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "PNG")
    answer_to(model, file.getvalue(), 1)


def _picture(pixels: np.ndarray) -> str:
    image = Image.fromarray((pixels * 255).round().astype(np.uint8))
    resampling = Image.Resampling.NEAREST if image.width < _SIDE else Image.Resampling.LANCZOS
    return data_url(image.resize((_SIDE, _SIDE), resampling), "JPEG")
