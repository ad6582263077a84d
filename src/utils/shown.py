"""Text from files on its way to a terminal or a log: it is read there, never obeyed."""


def shown(text: str) -> str:
    """`text` with what a terminal would act upon (escape sequences, turned writing direction) written out: `\\x1b`.

    Line breaks and tabs stay.
    """
    return "".join(
        letter if letter.isprintable() or letter in "\n\t" else letter.encode("unicode_escape").decode()
        for letter in text
    )
