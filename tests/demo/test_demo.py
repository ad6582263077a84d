"""The demo: what it answers, what it refuses, and the page in a real browser."""

import io
import struct
import threading
import zlib
from dataclasses import replace

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import sync_playwright

from src.demo.__main__ import main
from src.demo.app import MAX_BYTES, make_app, make_server, warm_up
from src.deploy.model import load_model
from src.utils.errors import ReportedError, UsageError

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def model(trained_run):
    return load_model(trained_run / "best.ckpt", heat_maps=True)


@pytest.fixture(scope="module")
def app(model):
    return make_app(model, 3)


@pytest.fixture(scope="module")
def address(app, model):
    """Of the page, served on a free port of this machine."""
    server = make_server(app, "127.0.0.1", 0)
    warm_up(model)
    threading.Thread(target=server.run, daemon=True).start()
    yield f"http://127.0.0.1:{server.effective_port}/"
    server.close()


def encoded(form="PNG", size=(20, 24)) -> bytes:
    file = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 255, (*size[::-1], 3), np.uint8)
    Image.fromarray(pixels).save(file, form)
    return file.getvalue()


def test_it_answers_as_the_model_does(app, model, tmp_path):
    (tmp_path / "picture.png").write_bytes(encoded())
    found = app.test_client().post("/answer", data=encoded()).get_json()
    expected = model.predict(tmp_path / "picture.png", top=3)
    assert [(one["class"], one["probability"]) for one in found["answers"]] == expected
    assert found["milliseconds"] > 0
    assert found["heat"].startswith("data:image/jpeg;base64,")
    assert found["heat"] != found["seen"]


def bomb(width: int, height: int, most: int = 2**30) -> bytes:
    """A small PNG that says it is large, with as many zeros as it should have, or `most`."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes(min((width // 8 + 1) * height, most)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("data", "status", "message"),
    [
        (b"", 400, "the picture has no bytes"),
        (b"no picture", 400, "the picture should be a complete JPEG, PNG, BMP or TIFF picture"),
        (b"<!DOCTYPE html><html></html>", 400, "HTML|web page"),
        (encoded("GIF"), 400, "GIF"),
        (encoded()[:-30], 400, "the picture "),
        (bomb(9600, 9600), 400, "has 9600 x 9600 pixels, more than the limit"),
        (bomb(60_000, 60_000, 2**22)[:2000], 400, "the picture "),
        (bytes(MAX_BYTES + 1), 413, "has more than 25 MiB"),
    ],
    ids=["nothing", "text", "page", "gif", "cut off", "bomb", "huge and cut off", "large"],
)
def test_what_is_no_picture(app, data, status, message):
    response = app.test_client().post("/answer", data=data)
    assert response.status_code == status
    assert any(word in response.get_json()["error"] for word in message.split("|"))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_network_that_diverged(model, value):
    odd = replace(model, heat=lambda images: (np.full((len(images), 10), value, np.float32), np.zeros((1, 2, 2))))
    response = make_app(odd, 3).test_client().post("/answer", data=encoded())
    assert response.status_code == 400
    assert "output holds values that are not finite" in response.get_json()["error"]


def test_a_gigabyte_is_not_read(address):
    """The server answers before the body is there."""
    import http.client

    connection = http.client.HTTPConnection(address.removeprefix("http://").rstrip("/"), timeout=20)
    connection.putrequest("POST", "/answer")
    connection.putheader("Content-Length", str(2**30))
    connection.endheaders()
    assert connection.getresponse().status == 413
    connection.close()


@pytest.mark.parametrize(("method", "path"), [("GET", "/answer"), ("GET", "/etc/passwd"), ("POST", "/"), ("PUT", "/")])
def test_other_requests(app, method, path):
    response = app.test_client().open(path, method=method)
    assert response.status_code in (404, 405)
    assert "takes pictures at /answer" in response.get_json()["error"]


def test_headers(app):
    headers = app.test_client().get("/").headers
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert headers["Cache-Control"] == "no-store"


def test_the_page(address, tmp_path):
    (tmp_path / "<b>.png").write_bytes(encoded())
    (tmp_path / "bad.png").write_bytes(b"no picture")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        for scheme, width in (("light", 390), ("dark", 1440)):
            page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
            messages = []
            page.on("console", lambda message, messages=messages: messages.append(message.text))
            page.on("pageerror", lambda error, messages=messages: messages.append(str(error)))
            page.goto(address)
            page.set_input_files("#file", tmp_path / "<b>.png")
            page.wait_for_selector("#answers li")
            assert page.locator("#file-name").inner_text() == "<b>.png"
            assert page.locator("#answers li").count() == 3
            assert page.evaluate("[...document.images].every(one => one.naturalWidth == 320)")
            found = Axe().run(page).response["violations"]
            assert [(one["id"], one["nodes"][0]["html"]) for one in found] == []
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            assert messages == []
            page.set_input_files("#file", tmp_path / "bad.png")
            page.locator("#error", has_text="should be a complete JPEG").wait_for()
            assert not page.locator("#result").is_visible()
            page.close()
        browser.close()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--port", "70000"], "found port 70000"),
        (["--top", "0"], "found top 0"),
        ([], "--model"),
        (["--port", "x"], "port"),
    ],
)
def test_wrong_usage(trained_run, flags, message):
    flags = [*flags, "--model", str(trained_run / "best.ckpt")] if flags else flags
    with pytest.raises(UsageError, match=message):
        main(flags)


def test_a_port_that_is_taken(app, address):
    port = int(address.rstrip("/").rpartition(":")[2])
    with pytest.raises(ReportedError, match=rf"cannot listen on 127\.0\.0\.1, port {port}: .*; give another --port"):
        make_server(app, "127.0.0.1", port)
    with pytest.raises(ReportedError, match=r"cannot listen on nowhere\.invalid"):
        make_server(app, "nowhere.invalid", 0)
