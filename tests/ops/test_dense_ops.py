"""What the cells of src/ops/dense_ops.py and the library's functions agree on."""

import ctypes

import numpy as np
import pytest
from direct import Final

from src.ops import dense_ops
from src.ops.build import kernels


@pytest.fixture(scope="module")
def library():
    return ctypes.CDLL(str(kernels().library))


def test_the_library_takes_and_makes_what_the_table_says(library):
    library.operator_signature.restype = ctypes.c_char_p
    full_names = {"stem": "{}_pad_fp32", "block": "{}_fp32", "transition": "{}_avg_fp32"}
    for name, signature in dense_ops.SIGNATURES.items():
        function = full_names.get(name.partition("_")[0], "{}").format(name)
        assert library.operator_signature(function.encode()).decode() == signature, function
    assert library.operator_signature(b"stem_train") is None


def test_another_library_is_refused(monkeypatch):
    path = str(kernels().library)
    monkeypatch.setitem(dense_ops.SIGNATURES, "final_infer", "x gamma beta variance mean -> y")
    with pytest.raises(RuntimeError, match=r"has another operator final_pool_infer than src/ops/signatures\.py"):
        dense_ops.FinalNorm(path, pool=True)
    dense_ops.Transition(path, "avg", "fp32")


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda x, *rest: (x.view(np.uint16), *rest), "its x is bfloat16, expected float32"),
        (lambda *arguments: arguments[:-1], "it was given 5 tensors, expected x gamma beta mean variance -> y"),
        (lambda *arguments: (*arguments, arguments[-1]), "it was given 7 tensors, expected x gamma beta"),
    ],
    ids=["type", "too few", "too many"],
)
def test_wrong_tensors_are_refused_in_a_sentence(library, capfd, change, message):
    x, norm = np.zeros((1, 2, 2, dense_ops.pixel_stride(3)), np.float32), [np.ones(3, np.float32)] * 4
    with pytest.raises(AssertionError):
        Final(library, pool=True).call("final_pool_infer", change(x, *norm), [(1, 3)])
    assert f"error: final_pool_infer failed: {message}" in capfd.readouterr().err


def test_arguments_of_layers_come_in_whole_groups(library, capfd):
    """A dense block of two layers lacks one of its parameters."""
    arrays = [np.zeros(1, np.float32)] * 20  # 1 + 2 x 10, less one
    with pytest.raises(AssertionError):
        Final(library, pool=True).call("block_infer_fp32", arrays, [(1,), (1,)])
    assert "error: block_infer_fp32 failed: it was given 22 tensors, expected x ( gamma1" in capfd.readouterr().err
