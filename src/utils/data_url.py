"""Pictures as text in a page."""

import base64
import io

from PIL import Image


def data_url(picture: Image.Image, form: str) -> str:
    """A picture as a data URL: `form` PNG or JPEG."""
    file = io.BytesIO()
    picture.save(file, form, **({"quality": 80} if form == "JPEG" else {"optimize": True}))
    return encoded_url(file.getvalue(), form)


def encoded_url(data: bytes, form: str) -> str:
    """The same of a picture that is encoded already."""
    return f"data:image/{form.lower()};base64,{base64.b64encode(data).decode()}"
