import mindspore as ms
import numpy as np
import pytest
from mindspore import nn, ops

from src.ops import build
from src.optimizers.sgd import SGD

ms.set_context(mode=ms.GRAPH_MODE)
SHAPES = {"conv.weight": (3, 2, 3, 3), "norm.gamma": (3,), "norm.beta": (3,), "fc.weight": (4, 3), "fc.bias": (4,)}
RATES = [0.1, 0.1, 0.05, 0.01, 0.2]


def draw(seed: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    return {name: random.standard_normal(shape).astype(np.float32) for name, shape in SHAPES.items()}


def reference(
    momentum, weight_decay, nesterov, decay_norm_and_bias, lr_factors=(1.0, 1.0, 1.0, 1.0, 1.0)
) -> tuple[dict, dict]:
    """torch.optim.SGD's documented algorithm in float64; returns parameters and velocities after all steps."""
    parameters = {name: value.astype(np.float64) for name, value in draw(0).items()}
    velocities, factors = dict.fromkeys(SHAPES), dict(zip(SHAPES, lr_factors, strict=True))
    for step, lr in enumerate(RATES, start=1):
        for name, gradient in draw(step).items():
            decays = decay_norm_and_bias or name.endswith(".weight")
            g = gradient + (weight_decay if decays else 0.0) * parameters[name]
            first = velocities[name] is None
            velocities[name] = g if first else momentum * velocities[name] + g
            g = g + momentum * velocities[name] if nesterov else velocities[name]
            parameters[name] = parameters[name] - lr * factors[name] * g
    return parameters, velocities


class Step(nn.Cell):
    """An optimizer inside a larger graph. A tuple of gradients from outside would be a constant, compiled anew."""

    def __init__(self, optimizer: SGD) -> None:
        super().__init__(auto_prefix=False)
        self.optimizer = optimizer

    def construct(self, lr, loss, *gradients):
        return ops.depend(loss, self.optimizer(gradients, lr))


@pytest.mark.slow
@pytest.mark.parametrize("has_kernels", [False, True], ids=["mindspore", "kernels"])
@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize(
    ("momentum", "weight_decay", "decay_norm_and_bias"),
    [(0.9, 1e-2, False), (0.9, 1e-2, True), (0.9, 0.0, False), (0.0, 1e-2, True)],
)
def test_equals_pytorchs_algorithm(momentum, weight_decay, nesterov, decay_norm_and_bias, has_kernels):
    options = {"momentum": momentum, "nesterov": nesterov, "weight_decay": weight_decay}
    assert_equals_reference(has_kernels, **options, decay_norm_and_bias=decay_norm_and_bias)


@pytest.mark.slow
@pytest.mark.parametrize("has_kernels", [False, True], ids=["mindspore", "kernels"])
@pytest.mark.parametrize("nesterov", [False, True])
def test_each_parameter_may_have_its_own_share_of_the_rate(nesterov, has_kernels):
    options = {"momentum": 0.9, "weight_decay": 1e-2, "nesterov": nesterov, "decay_norm_and_bias": True}
    assert_equals_reference(has_kernels, **options, lr_factors=(0.25, 0.5, 0.5, 1.0, 0.0))


def assert_equals_reference(has_kernels, **options):
    parameters = [ms.Parameter(ms.Tensor(value), name=name) for name, value in draw(0).items()]
    optimizer = SGD(parameters, **options, kernels=str(build.kernels().library) if has_kernels else None)
    step = Step(optimizer)
    for number, lr in enumerate(RATES, start=1):
        gradients = tuple(ms.Tensor(gradient) for gradient in draw(number).values())
        loss = step(ms.Tensor(lr, ms.float32), ms.Tensor(1.5, ms.float32), *gradients)
    assert loss.asnumpy() == 1.5
    expected, velocities = reference(**options)
    for parameter, velocity in zip(parameters, optimizer.moments, strict=True):
        np.testing.assert_allclose(parameter.asnumpy(), expected[parameter.name], atol=2e-6)
        assert velocity.name == f"moments.{parameter.name}"
        np.testing.assert_allclose(velocity.asnumpy(), velocities[parameter.name], atol=2e-6)


def test_state_is_the_parameters_and_their_velocities():
    parameters = [ms.Parameter(ms.Tensor(value), name=name) for name, value in draw(0).items()]
    step = Step(SGD(parameters, momentum=0.9, weight_decay=1e-4))
    assert set(step.parameters_dict()) == set(SHAPES) | {f"moments.{name}" for name in SHAPES}
    assert [p.name for p in step.trainable_params() if not p.name.startswith("moments.")] == list(SHAPES)


@pytest.mark.slow
@pytest.mark.parametrize("has_kernels", [False, True], ids=["mindspore", "kernels"])
def test_a_thousand_parameters_fit_into_one_graph(has_kernels):
    """DenseNet-201 has 604; a loop over them exceeds MindSpore's limit of 1000 nested calls."""
    parameters = [ms.Parameter(ms.Tensor([1.0], ms.float32), name=f"p{i}") for i in range(1000)]
    gradients = tuple(ms.Tensor([float(i)], ms.float32) for i in range(1000))
    kernels = str(build.kernels().library) if has_kernels else None
    SGD(parameters, momentum=0.9, weight_decay=0.0, kernels=kernels)(gradients, ms.Tensor(0.5, ms.float32))
    assert [p.asnumpy()[0] for p in parameters] == [1 - 0.5 * i for i in range(1000)]
