"""Every operator of src/ops/cpp against float64 (float64.py): outputs, running statistics and gradients.

`pytest -s` shows the differences that were measured.
"""

import ctypes
import os
import zlib
from functools import cache, partial
from itertools import count
from typing import NamedTuple

import mindspore as ms
import numpy as np
import pytest
from direct import (
    BF16_INSTRUCTION_SETS,
    EMULATED,
    INSTRUCTION_SETS,
    Block,
    Final,
    Stem,
    Transition,
    emulated_library,
    made,
    pack,
    unpack,
)
from kernel_cases import CASES, CHANNELS, DROPPING, Case, draw, drop_factors, norms_at, random_states
from mindspore import nn

from src.network.densenet import DenseNet, architecture
from src.ops import build, dense_ops

# Of a tensor's largest absolute value.
VALUES, GRADIENTS = 4e-6, 1e-5


def against_float64(test):
    return pytest.mark.torch(pytest.mark.slow(test))


@pytest.fixture(scope="module", params=INSTRUCTION_SETS)
def loaded(request):
    """The kernels for one instruction set, or with one emulated."""
    if request.param in EMULATED:
        return ctypes.CDLL(str(emulated_library(request.param)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(build.ISA_VARIABLE, request.param)
        found = build.kernels.__wrapped__()
    assert found.library, found.reason
    return ctypes.CDLL(str(found.library))


@pytest.fixture
def library(loaded):
    """The same with one thread: small shapes are slow with more when the cores are busy."""
    threads = loaded.omp_get_max_threads()
    loaded.omp_set_num_threads(1)  # and PyTorch's, where it uses the same OpenMP
    yield loaded
    loaded.omp_set_num_threads(threads)


@pytest.fixture(scope="module")
def float64():
    import float64  # here and not above: collecting the tests needs no PyTorch

    return float64


@pytest.fixture(scope="module")
def expected(float64):
    """case -> its `Step`."""

    @cache
    def solve(case):
        randoms = map(np.random.default_rng, count(zlib.crc32(str(case).encode())))
        steps = (float64.step(reference(float64, case), *draw(random, case), random) for random in randoms)
        return next(step for step in steps if step)

    return solve


def reference(float64, case):
    found = getattr(float64, case.operator)
    if case.operator == "block":
        return partial(found, factors_of(*case.detail[2:]))
    return partial(found, case.detail[1]) if case.operator in ("stem", "transition") else found


def factors_of(layers, rate=0.0):
    """(layer, shape) -> what its dropout multiplies by."""
    states = random_states(layers)
    return lambda layer, shape: drop_factors(shape, rate, *states[layer].tolist()) if rate else 1.0


def operator(library, case, precision="fp32"):
    if case.operator == "stem":
        return Stem(library, case.detail[1], precision)
    if case.operator == "block":
        return Block(library, precision, *case.detail[3:])
    if case.operator == "transition":
        return Transition(library, case.detail[1], precision)
    return Final(library, case.operator == "final_pool")


def difference(actual, true):
    """Largest difference as a share of the largest true value."""
    assert actual.shape == true.shape
    largest = np.abs(true).max()
    return np.abs(actual - true).max() / (largest if largest > 0 else 1.0)


class Found(NamedTuple):
    outputs: list
    followed: list
    gradients: list
    inferred: np.ndarray


def run(library, case, step, precision="fp32"):
    """What the operator makes of a `Step`'s inputs."""
    inputs, parameters, running, cotangents = map(
        singles, (step.inputs, step.parameters, step.running, step.cotangents)
    )
    tested = operator(library, case, precision)
    outputs, followed, saved = tested.train(inputs, parameters, running)
    gradients = tested.backward(inputs, parameters, saved, cotangents)
    return Found(outputs, followed, gradients, tested.infer(inputs, parameters, running))


def singles(arrays):
    return [array.astype(np.float32) for array in arrays]


def differences(case, found, step):
    """Of outputs, running statistics, inferred outputs and gradients: the largest."""
    pairs = {
        "outputs": zip(found.outputs, step.outputs, strict=True),
        "running": zip(found.followed, step.followed, strict=True),
        "inferred": [(found.inferred, step.inferred)],
        "gradients": zip(found.gradients, step.gradients, strict=True),
    }
    largest = {name: max(difference(*pair) for pair in all_pairs) for name, all_pairs in pairs.items()}
    print(f"\n{case}: " + ", ".join(f"{name} {value:.1e}" for name, value in largest.items()))
    return largest.values()


@against_float64
@pytest.mark.parametrize("case", CASES, ids=str)
def test_operator(library, expected, case):
    step = expected(case)
    *of_values, of_gradients = differences(case, run(library, case, step), step)
    assert max(of_values) < VALUES
    assert of_gradients < GRADIENTS


@against_float64
@pytest.mark.parametrize("batch, gradients", [(1, 2e-3), (2, 2e-4)])
def test_one_or_two_pixels_in_all(library, expected, batch, gradients):
    """One has no variance, and two are 1 and -1 when normalised, wherever they were: the gradients nearly cancel."""
    case = Case("block", batch, 1, 1, 24, (12, 4, 2))
    step = expected(case)
    *of_values, of_gradients = differences(case, run(library, case, step), step)
    assert max(of_values) < VALUES
    assert of_gradients < gradients


LARGE = [
    case for case in CASES if not case.operator.startswith("final") and case.batch * case.height * case.width > 100
]


# Where this CPU has no bfloat16, its instructions are emulated: a hundred times slower.
OF_BF16 = LARGE if BF16_INSTRUCTION_SETS else [case for case in LARGE[::3] if str(case) != "block-1-45-45-64-32-4-2"]
OF_BF16 += [] if BF16_INSTRUCTION_SETS else [Case("block", 1, 23, 23, 64, (32, 4, 2))]


@against_float64
@pytest.mark.parametrize("loaded", BF16_INSTRUCTION_SETS or EMULATED, indirect=True)
@pytest.mark.parametrize("case", OF_BF16, ids=str)
def test_operator_in_bf16(library, expected, case):
    """Three digits a product. Some ReLUs decide otherwise, so that the gradients are compared as a whole."""
    step = expected(case)
    found = run(library, case, step, "bf16")
    outputs, running, inferred, _ = differences(case, found, step)
    distances = [
        np.linalg.norm(one - true) / np.linalg.norm(true)
        for one, true in zip(found.gradients, step.gradients, strict=True)
    ]
    print(f"gradients' distance {max(distances):.1e}")
    assert max(outputs, running, inferred) < 0.03
    assert max(distances) < 0.1


SMALL = [
    Case("stem", 2, 12, 11, 24, (3, "pad")),
    Case("stem", 2, 24, 22, 24, (7, "same")),
    Case("block", 2, 12, 11, 24, (12, 4, 2)),
    Case("transition", 2, 12, 11, 24, (12, "avg")),
    Case("transition", 2, 12, 11, 24, (12, "max")),
    Case("final", 2, 12, 11, 24),
    Case("final_pool", 2, 12, 11, 24),
]
EVALUATED = [case for case in CASES if case.batch * case.height * case.width < 2000][::4]


@against_float64
@pytest.mark.parametrize("case", [*SMALL, *EVALUATED], ids=str)
def test_gradients_in_evaluation(library, float64, case):
    """Those of running statistics that stay. Run to run, and with two threads, they are the same bits."""
    randoms = map(np.random.default_rng, count(zlib.crc32(str(case).encode())))
    steps = (float64.evaluation(reference(float64, case), *draw(random, case), random) for random in randoms)
    step = next(step for step in steps if step)
    found, again = infer_and_back(library, case, step), infer_and_back(library, case, step, threads=2)
    largest = max(difference(*pair) for pair in zip(found, [step.output, *step.gradients], strict=True))
    print(f"\n{case}: {largest:.1e}")
    assert largest < GRADIENTS
    assert all(np.array_equal(one, other) for one, other in zip(found, again, strict=True))


@against_float64
@pytest.mark.parametrize("loaded", BF16_INSTRUCTION_SETS or EMULATED, indirect=True)
@pytest.mark.parametrize("case", SMALL[:5], ids=str)
def test_gradients_in_evaluation_in_bf16(library, float64, case):
    random = np.random.default_rng(0)
    step = float64.evaluation(reference(float64, case), *draw(random, case), random)
    found = infer_and_back(library, case, step, "bf16")
    for one, true in zip(found, [step.output, *step.gradients], strict=True):
        assert np.linalg.norm(one - true) / np.linalg.norm(true) < 0.1


def infer_and_back(library, case, step, precision="fp32", threads=1):
    """The output in evaluation, and the gradients."""
    library.omp_set_num_threads(threads)
    tested = operator(library, case, precision)
    inputs, parameters, running = map(singles, (step.inputs, step.parameters, step.running))
    y = tested.infer(inputs, parameters, running)
    return [y, *tested.infer_backward(inputs, parameters, running, y, step.cotangent.astype(np.float32))]


@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("mean", [0.0, 100.0])
def test_statistics_of_a_map(library, channels, mean):
    """Of one that was made without, as in evaluation."""
    x = np.float32(mean) + np.random.default_rng(0).standard_normal((3, channels, 13, 7), np.float32)
    (found,) = Final(library, pool=False).call("map_measure", [pack(x), np.ones(channels, np.float32)], [(2, channels)])
    x = x.astype(np.float64)
    assert difference(found, np.stack([x.mean((0, 2, 3)), x.var((0, 2, 3))])) < VALUES


@against_float64
@pytest.mark.parametrize("case", SMALL[2:], ids=str)
def test_inputs_far_from_zero(library, float64, case):
    """Mean 100, standard deviation 0.1: float32 leaves four digits of the normalised values."""
    random = np.random.default_rng(0)
    step = float64.step(reference(float64, case), *draw(random, case, 100.0, 0.1), random)
    outputs, running, inferred, gradients = differences(case, run(library, case, step), step)
    assert max(running, inferred) < VALUES
    assert outputs < 1e-4
    assert gradients < 2e-4


@against_float64
@pytest.mark.parametrize("pool", ["pad", "same"])
def test_one_of_equals_gets_the_gradient_of_the_pool(library, float64, monkeypatch, pool):
    """Where an image has one colour, all values of a window are the largest, and what they were made of is the same."""
    monkeypatch.setattr(float64, "CLEARANCE", -1.0)
    case = Case("stem", 2, 44, 40, 24, (7, pool))
    random = np.random.default_rng(0)
    inputs, *rest = draw(random, case)
    inputs[0][:, :, 4:-4, 4:-4] = random.standard_normal((2, 3, 1, 1))
    step = float64.step(reference(float64, case), inputs, *rest, random)
    *of_values, of_gradients = differences(case, run(library, case, step), step)
    assert max(of_values) < VALUES
    assert of_gradients < GRADIENTS


def test_the_first_of_equals_gets_the_gradient_of_a_transition(library):
    """As MindSpore's own pool has it on a CPU."""
    random = np.random.default_rng(0)
    inputs, parameters, running = draw(random, Case("transition", 2, 6, 4, 20, (5, "max")))
    inputs[0] = inputs[0][:, :, ::2, ::2].repeat(2, 2).repeat(2, 3)
    tested = Transition(library, "max", "fp32")
    outputs, _, saved = tested.train(inputs, parameters, running)
    d_x = tested.backward(
        inputs, parameters, saved, [random.standard_normal(out.shape, np.float32) for out in outputs]
    )[0]
    assert np.abs(d_x[:, :, ::2, ::2]).max() > 0
    d_x[:, :, ::2, ::2] = 0
    assert not d_x.any()
    pool = nn.MaxPool2d(2, 2)

    def total(x):
        return pool(x).sum()

    of_mindspore = ms.grad(total)(ms.Tensor(inputs[0])).asnumpy()
    assert (of_mindspore[:, :, ::2, ::2] == 1).all()
    assert of_mindspore.sum() == inputs[0].size / 4


@pytest.mark.parametrize("case", SMALL[:5], ids=str)
def test_statistics_of_outputs_far_from_zero(library, case):
    """Means of hundreds of deviations: what an operator says of its outputs is true of the numbers it returns."""
    inputs, parameters, running = draw(np.random.default_rng(0), case)
    for at in norms_at(case, parameters):
        parameters[at] *= np.float32(0.1)
        parameters[at + 1][:] = 100
    _, _, saved = operator(library, case).train(inputs, parameters, running)
    pairs = [(made(saved[0]), saved[1])]
    if case.operator == "block":
        bottlenecks = made(saved[2])[: -dense_ops.SPARE_PIXELS]
        pairs = zip(bottlenecks.reshape(len(saved[3]), -1, bottlenecks.shape[1]), saved[3], strict=True)
    for features, (mean, variance) in pairs:
        pixels = features.reshape(-1, features.shape[-1])[:, : len(mean)].astype(np.float64)
        true_mean, true_variance = pixels.mean(0), pixels.var(0)
        assert np.median(np.abs(true_mean) / np.sqrt(true_variance)) > 100
        assert difference(mean, true_mean) < 1e-6
        assert np.abs(variance / true_variance - 1).max() < 5e-6


@pytest.mark.parametrize("case", SMALL[:5], ids=str)
def test_what_operators_make_may_be_copied(library, case):
    """To any place: MindSpore owes them no alignment."""
    inputs, parameters, running = draw(np.random.default_rng(0), case)
    tested = operator(library, case)
    outputs, _, saved = tested.train(inputs, parameters, running)
    cotangents = [np.random.default_rng(1).standard_normal(output.shape, np.float32) for output in outputs]
    expected = tested.backward(inputs, parameters, saved, cotangents)
    for bytes_behind_a_line in range(0, 64, 12):
        copies = [copy_at(array, bytes_behind_a_line) for array in saved]
        for one, other in zip(expected, tested.backward(inputs, parameters, copies, cotangents), strict=True):
            assert np.array_equal(one, other)


def copy_at(array, bytes_behind_a_line):
    memory = np.empty(array.nbytes + 128, np.uint8)
    start = -memory.ctypes.data % 64 + bytes_behind_a_line
    copy = memory[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


FEW_PIXELS = [
    Case("stem", 1, 1, 2, 24, (7, "pad")),
    Case("block", 5, 1, 1, 24, (12, 4, 2)),
    Case("transition", 3, 2, 2, 24, (12, "avg")),
    Case("transition", 3, 2, 2, 24, (12, "max")),
]


@against_float64
@pytest.mark.parametrize(
    "case",
    [
        *SMALL,
        *FEW_PIXELS,
        *DROPPING[:2],
        Case("block", 2, 45, 45, 24, (12, 4, 4)),
        *(Case("stem", batch, 45, 44, 24, (7, pool)) for batch in (1, 3) for pool in ("pad", "same")),
    ],
    ids=str,
)
def test_threads(library, expected, case):
    """Any number of threads gives the same bits, every time."""
    step = expected(case)
    found = {}
    for threads in range(1, min(len(os.sched_getaffinity(0)), 3) + 1):
        library.omp_set_num_threads(threads)
        found[threads], again = arrays(run(library, case, step)), arrays(run(library, case, step))
        for one, other, alone in zip(found[threads], again, found[1], strict=True):
            assert np.array_equal(one, other)
            assert np.array_equal(one, alone)


def arrays(found):
    return [*found.outputs, *found.followed, *found.gradients, found.inferred]


class Loss(nn.Cell):
    """inputs, cotangents of the cell's outputs -> a loss with these gradients, and the outputs."""

    def __init__(self, cell: nn.Cell, inputs: int, parameters, running) -> None:
        super().__init__()
        self.cell, self.inputs = cell, inputs
        self.trained = ms.ParameterTuple([ms.Parameter(p, name=f"parameter{i}") for i, p in enumerate(parameters)])
        self.running = ms.ParameterTuple([ms.Parameter(r, name=f"running{i}") for i, r in enumerate(running)])

    def construct(self, *arguments):
        outputs = self.cell(*arguments[: self.inputs], self.trained, self.running)
        if not isinstance(outputs, tuple):
            outputs = (outputs,)
        cotangents = arguments[self.inputs :]
        loss = 0.0
        for i in range(len(cotangents)):
            loss += (outputs[i] * cotangents[i]).sum()
        return loss, outputs


@pytest.mark.slow
@pytest.mark.parametrize("mode", [ms.GRAPH_MODE, ms.PYNATIVE_MODE], ids=["graph", "pynative"])
@pytest.mark.parametrize("case", SMALL, ids=str)
def test_cell(case, mode):
    """MindSpore's cells give the very bits of the functions called directly, in training and evaluation."""
    path = str(build.kernels().library)
    inputs, parameters, running = draw(np.random.default_rng(0), case)
    tested = operator(ctypes.CDLL(path), case)
    outputs, followed, saved = tested.train(inputs, parameters, running)
    cotangents = [np.random.default_rng(1).standard_normal(output.shape, np.float32) for output in outputs]
    gradients = tested.backward(inputs, parameters, saved, cotangents)
    inferred = tested.infer(inputs, parameters, followed)

    cell = {
        "stem": lambda: dense_ops.Stem(path, case.detail[1], "fp32"),
        "block": lambda: dense_ops.DenseBlock(path, "fp32"),
        "transition": lambda: dense_ops.Transition(path, case.detail[1], "fp32"),
        "final": lambda: dense_ops.FinalNorm(path, pool=False),
        "final_pool": lambda: dense_ops.FinalNorm(path, pool=True),
    }[case.operator]()
    if case.operator != "stem":
        inputs[0] = pack(inputs[0])
    if not case.operator.startswith("final"):
        cotangents[0] = pack(cotangents[0])
    tensors = [*map(ms.Tensor, inputs)], [*map(ms.Tensor, cotangents)]
    before = ms.get_context("mode")
    ms.set_context(mode=mode)
    try:
        loss = Loss(
            cell,
            len(inputs),
            map(ms.Tensor, parameters),
            [ms.Tensor(statistic) for pair in running for statistic in pair],
        )
        loss.set_train()
        step = ms.value_and_grad(loss, tuple(range(len(inputs))), loss.trained, has_aux=True)
        (_, found), (d_inputs, d_parameters) = step(*tensors[0], *tensors[1])
        found_running = [statistic.asnumpy() for statistic in loss.running]
        loss.set_train(False)
        found_inferred = loss(*tensors[0])[1][0].asnumpy()
    finally:
        ms.set_context(mode=before)

    found = [array.asnumpy() for array in found[: len(outputs)]]
    if case.operator == "stem":
        d_inputs = [d_inputs.asnumpy()]
    else:
        d_inputs = [unpack(d_inputs[0].asnumpy(), case.channels), d_inputs[1].asnumpy()]
    if not case.operator.startswith("final"):
        found[0], found_inferred = (unpack(y, outputs[0].shape[1]) for y in (found[0], found_inferred))
    d_parameters = [array.asnumpy() for array in d_parameters]
    for one, other in zip(
        [*outputs, *(s for pair in followed for s in pair), *gradients, inferred],
        [*found, *found_running, *d_inputs, *d_parameters, found_inferred],
        strict=True,
    ):
        assert np.array_equal(one, other)


@pytest.mark.slow
@pytest.mark.parametrize("stem", ["conv3x3", "conv7x7"])
def test_not_a_number_shows(stem):
    """One pixel that is NaN makes its image's logits NaN, and in training, by way of the statistics, all of them."""
    arch = architecture("densenet100", 10, stem=stem, stem_features=8, growth_rate=4, block_config=(1, 1))
    network = DenseNet(arch, kernels=str(build.kernels().library))
    images = np.random.default_rng(0).standard_normal((2, 3, 17, 19), np.float32)
    images[0, 1, 16, 0] = np.nan
    assert np.isnan(network.set_train(False)(ms.Tensor(images)).asnumpy()).all(1).tolist() == [True, False]
    assert np.isnan(network.set_train()(ms.Tensor(images)).asnumpy()).all()
