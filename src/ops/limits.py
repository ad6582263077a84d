"""What the C++ kernels for CPUs do not have, without compiling them: for the check of the keys, and for `select.py`."""


def lacking(*, transition_pool: str, amp_level: str, norm_ranks: int, drop_rate: float) -> tuple[str, str]:
    """The key that asks for what the kernels do not have, and that in words; ('', '') when they have everything.

    norm_ranks: of how many ranks batch normalisation takes the images together. drop_rate: 0 for evaluation.
    """
    if norm_ranks > 1:
        return "sync_batch_norm", f"they do not normalise over {norm_ranks} ranks (sync_batch_norm)"
    if drop_rate > 0:
        return "drop_rate", f"they have no dropout (drop_rate {drop_rate:g})"
    if amp_level != "O0":
        return "amp_level", f"they do not compute in float16 (amp_level {amp_level})"
    if transition_pool != "avg":
        return "transition_pool", f"they have no {transition_pool} pooling between blocks (transition_pool)"
    return "", ""
