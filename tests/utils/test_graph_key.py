"""The digest of a graph: the same for the same configuration, another for each change that shapes it."""

import importlib
import sys

import mindspore as ms
import numpy as np
import pytest

from src.losses.crossentropy import CrossEntropy
from src.network.architecture import architecture
from src.network.densenet import DenseNet
from src.network.mixed_precision import apply_amp_level
from src.ops import dense_ops
from src.ops.build import kernels
from src.optimizers.sgd import SGD
from src.training.evaluation import PredictStep
from src.training.step import LossScaling, TrainStep
from src.utils.graph_key import _foreign_digest, graph_key
from src.utils.own_folder import temporary_folder

IMAGES = ms.Tensor(np.zeros((2, 3, 32, 32), np.float32))
TINY = {"growth_rate": 4, "block_config": (1, 1), "stem_features": 8}
SGD_OF_RUNS = {"momentum": 0.9, "weight_decay": 1e-4}


def key_of(*, arch=None, network=None, sgd=None, step=None, smoothing=0.0, amp_level="O0", images=IMAGES, train=True):
    cell = DenseNet(architecture("densenet100", 10, **TINY | (arch or {})), **network or {})
    apply_amp_level(cell, amp_level)
    optimizer = SGD(cell.trainable_params(), **SGD_OF_RUNS | (sgd or {}))
    train_step = TrainStep(cell, CrossEntropy(smoothing), optimizer, **step or {})
    return graph_key(train_step.set_train(train), (images,))


CHANGES = {
    "growth rate": {"arch": {"growth_rate": 6}},
    "blocks": {"arch": {"block_config": (1, 2)}},
    "transition pool": {"arch": {"transition_pool": "max"}},
    "dropout": {"arch": {"drop_rate": 0.5}},
    "recompute": {"network": {"recompute": True}},
    "ranks in batch normalisation": {"network": {"norm_ranks": 2}},
    "momentum": {"sgd": {"momentum": 0.8}},
    "weight decay": {"sgd": {"weight_decay": 1e-3}},
    "decay of norms": {"sgd": {"decay_norm_and_bias": True}},
    "nesterov": {"sgd": {"nesterov": True}},
    "label smoothing": {"smoothing": 0.1},
    "clipping": {"step": {"max_norm": 1.0}},
    "accumulation": {"step": {"accumulation_steps": 2}},
    "fixed loss scale": {"step": {"scaling": LossScaling("fixed")}},
    "dynamic loss scale": {"step": {"scaling": LossScaling("dynamic")}},
    "ranks": {"step": {"world_size": 2}},
    "half precision": {"amp_level": "O3"},
    "batch size": {"images": ms.Tensor(np.zeros((3, 3, 32, 32), np.float32))},
    "image size": {"images": ms.Tensor(np.zeros((2, 3, 16, 16), np.float32))},
    "evaluation": {"train": False},
}


def test_the_same_configuration_has_the_same_key():
    assert key_of() == key_of()
    masks = {"arch": {"drop_rate": 0.5}}
    assert key_of(**masks) == key_of(**masks, network={"seed": 7})  # values of weights and masks are not in the graph


@pytest.mark.slow
def test_every_change_has_another_key():
    keys = {name: key_of(**change) for name, change in CHANGES.items()}
    keys["as it is"] = key_of()
    assert len(set(keys.values())) == len(keys), keys


def test_kernels_and_their_precision_have_other_keys(monkeypatch):
    monkeypatch.setattr(dense_ops, "check_signature", lambda *_: None)  # not every machine has bf16
    library = str(kernels().library)
    used = [{"kernels": None}, *({"kernels": library, "kernel_precision": precision} for precision in ("fp32", "bf16"))]
    keys = [key_of(network=network, sgd={"kernels": network["kernels"]}) for network in used]
    keys.append(key_of(network={"kernels": library + "2"}, sgd={"kernels": library + "2"}))
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("name", ["MS_DEV_JIT_SYNTAX_LEVEL", "RANK_ID"])
def test_what_mindspore_is_told_counts(name, monkeypatch):
    step = PredictStep(DenseNet(architecture("densenet100", 10, **TINY)))
    before = graph_key(step, (IMAGES,))
    monkeypatch.setenv(name, "1")
    assert graph_key(step, (IMAGES,)) != before


def test_where_a_process_runs_does_not_count(monkeypatch):
    step = PredictStep(DenseNet(architecture("densenet100", 10, **TINY)))
    before = graph_key(step, (IMAGES,))
    monkeypatch.setenv("MS_SCHED_PORT", "8118")
    assert graph_key(step, (IMAGES,)) == before


def test_a_constant_counts_by_its_value():
    def key(value):
        step = PredictStep(DenseNet(architecture("densenet100", 10, **TINY)))
        step.constant = ms.Tensor([value], ms.float32)
        return graph_key(step, (IMAGES,))

    assert key(1.0) == key(1.0) != key(2.0)


def test_what_cannot_be_described_has_no_key():
    step = PredictStep(DenseNet(architecture("densenet100", 10, **TINY)))
    step.stranger = (number for number in range(3))
    with pytest.raises(TypeError, match="generator cannot be described"):
        graph_key(step, (IMAGES,))


def test_a_graph_of_a_library_of_this_process_alone_has_no_key():
    """Its path is in the graph, and another process would find nothing there."""
    cell = PredictStep(DenseNet(architecture("densenet100", 10, **TINY)))
    cell.library = f"{temporary_folder('densenet-kernels-')}/lib.so:stem"
    with pytest.raises(TypeError, match="for this process alone"):
        graph_key(cell, (IMAGES,))


def test_a_cell_of_another_file_counts_by_its_text(tmp_path, monkeypatch):
    """And the script that was started does not."""
    monkeypatch.syspath_prepend(tmp_path)
    text, keys = "from src.training.evaluation import PredictStep\n\nclass Own(PredictStep):\n    '''{}'''\n", []
    for number, said in ((1, "one"), (2, "two"), (3, "one")):
        (tmp_path / f"own_cells_{number}.py").write_text(text.format(said))
        module = importlib.import_module(f"own_cells_{number}")
        keys.append(_foreign_digest(module.__name__))
        network = DenseNet(architecture("densenet100", 10, **TINY))
        assert graph_key(module.Own(network), (IMAGES,)) != graph_key(PredictStep(network), (IMAGES,))
    assert keys[0] == keys[2] != keys[1]
    before = graph_key(PredictStep(network), (IMAGES,))
    monkeypatch.setattr(sys, "argv", [str(tmp_path / "own_cells_1.py")])
    assert graph_key(PredictStep(network), (IMAGES,)) == before
    monkeypatch.setattr(sys.modules["own_cells_1"], "__file__", None)
    _foreign_digest.cache_clear()
    with pytest.raises(TypeError, match="own_cells_1, which is in no file"):
        graph_key(sys.modules["own_cells_1"].Own(network), (IMAGES,))
