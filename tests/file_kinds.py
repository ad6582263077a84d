"""Beginnings of files that are no usable pictures, by what they are called in Python and in the C++ program."""

FILES = {
    "a GIF picture": b"GIF89a\1\0",
    "a WebP picture": b"RIFF\0\0\0\0WEBPVP8 ",
    "an AVIF picture": b"\0\0\0\x20ftypavif\0\0\0\0",
    "a HEIC picture": b"\0\0\0\x18ftypheic\0\0\0\0",
    "a video": b"\0\0\0\x18ftypmp42\0\0\0\0",
    "a Photoshop document": b"8BPS\0\1",
    "a PDF document": b"%PDF-1.7\n",
    "a JPEG XL picture": b"\xff\x0a\xfa",
    "a DICOM picture": bytes(128) + b"DICM",
    "a Netpbm picture": b"P6\n4 4\n255\n",
    "a Git LFS pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n",
    "an HTML page": b"\xef\xbb\xbf\r\n<!DOCTYPE html>\n<html>",
    "an SVG drawing": b'<?xml version="1.0"?>\n<!-- made -->\n<svg xmlns="http://www.w3.org/2000/svg">',
    "an XML text": b'<?xml version="1.0" encoding="UTF-8"?><Error><Code>AccessDenied</Code></Error>',
    "a JSON text": b'{"error": "not found"}',
    "nothing but zero bytes": bytes(4096),
    "a ZIP archive": b"PK\3\4\x14",
}
