"""What the C++ kernels for CPUs do not have, without compiling them: for the check of the keys, and for `select.py`."""


def lacking(*, amp_level: str, norm_ranks: int) -> tuple[str, str]:
    """The key that asks for what the kernels do not have, and that in words; ('', '') when they have everything.

    norm_ranks: of how many ranks batch normalisation takes the images together.
    """
    if norm_ranks > 1:
        return "sync_batch_norm", f"they do not normalise over {norm_ranks} ranks (sync_batch_norm)"
    if amp_level != "O0":
        return "amp_level", f"they do not compute in float16 (amp_level {amp_level})"
    return "", ""
