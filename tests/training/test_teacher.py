"""A step with a teacher against its formula, and which teachers are refused."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from mindspore import Parameter, Tensor

from src.datasets.mixing import Mixing
from src.losses.crossentropy import CrossEntropy
from src.losses.distillation import DistillationLoss
from src.model_utils.group import ALONE
from src.network.architecture import architecture
from src.network.densenet import DenseNet
from src.ops import build
from src.optimizers.sgd import SGD
from src.training.evaluation import PredictStep
from src.training.model_card import model_card_of
from src.training.step import TrainStep
from src.training.teacher import Teacher, open_teacher
from src.training.update import arguments
from src.utils.checkpoint import load_checkpoint, save_checkpoint
from src.utils.errors import ReportedError, UsageError

pytestmark = pytest.mark.slow


def network(seed: int, has_kernels: bool, growth_rate: int = 4) -> DenseNet:
    arch = architecture("densenet100", 3, growth_rate=growth_rate, block_config=(1,), stem_features=4)
    return DenseNet(arch, seed=seed, kernels=str(build.kernels().library) if has_kernels else None)


def logits_of(net: DenseNet, images: np.ndarray) -> np.ndarray:
    """In inference mode."""
    found = PredictStep(net).logits(images)
    net.set_train(True)
    return found


@pytest.mark.parametrize("has_kernels", [False, True], ids=["mindspore", "kernels"])
def test_the_loss_is_that_of_labels_and_teacher_on_the_same_mixed_images(has_kernels):
    random = np.random.default_rng(0)
    images, labels = random.normal(size=(4, 3, 8, 8)).astype(np.float32), np.array([0, 1, 2, 0], np.int32)
    mix = Mixing(1.0, 0.0, seed=1).draw(0, 0, 0, 4, 8, 8)
    one = network(1, has_kernels, growth_rate=6)
    answers = logits_of(one, mix.mixed(images))
    teacher = Teacher(one)
    before = {p.name: p.asnumpy().copy() for p in teacher.get_parameters()}
    losses, weights = {}, {}
    for weight in (0.0, 0.25, 1.0):
        student = network(2, has_kernels)
        optimizer = SGD(student.trainable_params(), momentum=0.0, weight_decay=0.0)
        taught = {"teacher": teacher, "distillation": DistillationLoss(2.0), "teacher_weight": weight}
        step = TrainStep(student, CrossEntropy(), optimizer, **(taught if weight else {}))
        loss, *_ = step(*arguments((images, labels, np.arange(4), mix), 0.1, is_last=True))
        losses[weight] = float(loss.asnumpy())
        weights[weight] = student.head.fc.weight.asnumpy().copy()
        assert not any("teacher" in parameter.name for parameter in step.saved_parameters())
    # By the teacher alone: the student's answers are those of a step on the labels alone, whose loss they give.
    assert losses[0.25] == pytest.approx(0.75 * losses[0.0] + 0.25 * losses[1.0], rel=1e-5)
    np.testing.assert_allclose(weights[0.25], 0.75 * weights[0.0] + 0.25 * weights[1.0], atol=1e-6)
    student = network(2, has_kernels)
    student.set_train(True)
    given = student(Tensor(mix.mixed(images)))
    expected = DistillationLoss(2.0)(given, Tensor(answers))
    assert losses[1.0] == pytest.approx(float(expected.asnumpy()), rel=1e-4)
    # Nothing of it has moved, statistics included: it was in inference mode inside a step in training mode.
    assert all(name.startswith("teacher.") for name in before)
    for parameter in teacher.get_parameters():
        assert np.array_equal(parameter.asnumpy(), before[parameter.name]), parameter.name


@pytest.fixture
def checkpoint(trained_run, tmp_path):
    return shutil.copy(trained_run / "best.ckpt", tmp_path / "teacher.ckpt")


def test_a_teacher_of_the_same_classes_and_input_is_opened(checkpoint):
    card = model_card_of(load_checkpoint(checkpoint))
    found = open_teacher(str(checkpoint), card, None, ALONE)
    assert (found.architecture, len(found.sha256)) == (card.architecture, 64)
    assert open_teacher("", card, None, ALONE) is None
    teacher = found.build(lambda arch: DenseNet(arch, seed=9), ALONE)
    assert np.array_equal(
        teacher.network.head.fc.weight.asnumpy(), load_checkpoint(checkpoint).weights()["head.fc.weight"]
    )


def test_other_classes_inputs_and_tasks_are_refused(checkpoint):
    card = model_card_of(load_checkpoint(checkpoint))
    names = tuple(reversed(card.class_names))
    for other, message in (
        (
            replace(card, class_names=names),
            r"has the classes 10 \(0, 1, 2, \.\.\.\), expected those of the data, 10 \(9, ",
        ),
        (replace(card, preprocessing=card.preprocessing.at(16)), "takes other input .*: image_size 8 instead of 16"),
        (replace(card, preprocessing=replace(card.preprocessing, mean=(0.1, 0.2, 0.3))), "other input .*: mean "),
        (
            replace(card, task="multilabel"),
            "answers with one class a picture, expected several labels a",
        ),
    ):
        with pytest.raises(UsageError, match=message):
            open_teacher(str(checkpoint), other, None, ALONE)


def test_a_resumed_run_has_the_teacher_that_it_began_with(checkpoint, tmp_path):
    """Wherever it lies now; but no other one."""
    found = load_checkpoint(checkpoint)
    card = model_card_of(found)
    began = open_teacher(str(checkpoint), card, None, ALONE)
    parameters = [Parameter(Tensor(np.zeros(1, np.float32)), name="w")]
    save_checkpoint(tmp_path / "run.ckpt", parameters, {"teacher": began.sha256})
    run = load_checkpoint(tmp_path / "run.ckpt")
    moved = shutil.copy(checkpoint, tmp_path / "moved.ckpt")
    assert open_teacher(str(moved), card, run, ALONE).sha256 == began.sha256
    arrays = [Parameter(Tensor(value), name=name) for name, value in found.arrays.items()]
    metadata = json.loads(json.dumps(dict(found.metadata)))
    save_checkpoint(tmp_path / "other.ckpt", arrays, metadata | {"note": "another file"})
    with pytest.raises(ReportedError, match=r"other\.ckpt is not the file that the run was trained with: its SHA-256"):
        open_teacher(str(tmp_path / "other.ckpt"), card, run, ALONE)
