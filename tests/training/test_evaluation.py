"""Evaluation counts every image once and never the padding."""

import io
import sys

import numpy as np
import pytest
from mindspore import Tensor, nn
from toy import Linear, make_data

from src.training.evaluation import PredictStep, evaluate, predict


def batches(images, labels, batch_size):
    for i in range(0, len(labels), batch_size):
        end = min(i + batch_size, len(labels))
        yield images[i:end], labels[i:end], np.arange(i, end, dtype=np.int32)


def always_class_zero(images: np.ndarray) -> np.ndarray:
    """What padding would be right about, if it were counted with label 0."""
    return np.eye(3, dtype=np.float32)[np.zeros(len(images), int)]


@pytest.mark.parametrize("count", [1, 6, 7, 8, 9, 23])
def test_padding_is_never_counted(count):
    labels = np.zeros(count, np.int32)
    images = np.ones((count, 3, 2, 2), np.float32)
    accuracy = evaluate(always_class_zero, batches(images, labels, 8), batch_size=8, num_classes=3)
    assert (accuracy.seen, accuracy.top1_correct) == (count, count)


@pytest.mark.parametrize("batch_size", [1, 4, 5, 37, 64])
def test_counts_do_not_depend_on_the_batch_size(batch_size):
    images, labels = make_data(37)
    network = Linear()
    logits = images.reshape(37, -1) @ network.fc.weight.asnumpy().T
    expected = np.zeros((3, 3), int)
    np.add.at(expected, (labels, logits.argmax(1)), 1)
    model = PredictStep(network).logits
    accuracy = evaluate(model, batches(images, labels, batch_size), batch_size=batch_size, num_classes=3)
    assert accuracy.seen == 37
    assert accuracy.confusion.tolist() == expected.tolist()


def test_the_network_sees_one_shape_and_the_caller_only_real_images():
    shapes, (images, labels) = [], make_data(10)

    def network(padded: np.ndarray) -> np.ndarray:
        shapes.append(padded.shape)
        return always_class_zero(padded)

    found = list(predict(network, batches(images, labels, 4), 4))
    assert shapes == [(4, 3, 2, 2)] * 3
    assert [len(logits) for logits, _, _ in found] == [4, 4, 2]
    assert np.concatenate([indices for _, _, indices in found]).tolist() == list(range(10))


def test_on_batch_gets_what_was_counted():
    images, labels = make_data(10)
    seen = []
    evaluate(
        always_class_zero,
        batches(images, labels, 4),
        batch_size=4,
        num_classes=3,
        on_batch=lambda _, labels, indices: seen.append((labels.tolist(), indices.tolist())),
    )
    assert [index for _, indices in seen for index in indices] == list(range(10))
    assert [label for found, _ in seen for label in found] == labels.tolist()


def test_counts_are_summed_over_the_ranks():
    class TwoEqualRanks:
        def gather_counts(self, rows):
            return np.concatenate([rows, rows])

    images, labels = make_data(5)
    step = always_class_zero
    accuracy = evaluate(step, batches(images, labels, 4), batch_size=4, num_classes=3, group=TwoEqualRanks())
    assert accuracy.seen == 10
    assert accuracy.top1_correct == 2 * (labels == 0).sum()


def test_predict_step_is_inference():
    class TrainingFlag(nn.Cell):
        def construct(self, images):
            return images * (2.0 if self.training else 1.0)

    step = PredictStep(TrainingFlag().set_train(True))
    assert step(Tensor(np.float32([[3.0]]))).asnumpy().tolist() == [[3.0]]


@pytest.mark.parametrize("batch_size", [1, 8, 37])
def test_the_loss_is_the_mean_over_exactly_the_images(batch_size):
    images, labels = make_data(37)
    network = Linear()
    logits = (images.reshape(37, -1) @ network.fc.weight.asnumpy().T).astype(np.float64)
    expected = np.mean(np.log(np.exp(logits).sum(1)) - logits[np.arange(37), labels])
    model = PredictStep(network).logits
    accuracy = evaluate(model, batches(images, labels, batch_size), batch_size=batch_size, num_classes=3)
    assert accuracy.loss == pytest.approx(expected, rel=1e-5)
    assert accuracy.loss_line() == f"eval loss:{expected:.4f} over 37 images"


def test_the_loss_is_summed_over_the_ranks_to_the_last_bit():
    others = 1e-7 + 3.0

    class Two:
        rank, world_size, is_master = 0, 2, True

        def gather_counts(self, rows):
            if rows.shape[1] == 2:  # the loss, as bits
                return np.concatenate([rows, np.array([[others]]).view(np.uint32).astype(np.int64)])
            return np.concatenate([rows, rows])

    images, labels = make_data(5)
    alone = evaluate(always_class_zero, batches(images, labels, 5), batch_size=5, num_classes=3)
    both = evaluate(always_class_zero, batches(images, labels, 5), batch_size=5, num_classes=3, group=Two())
    assert both.seen == 10
    assert both.loss_sum == alone.loss_sum + others


def test_the_bar_counts_images_on_terminals_only(monkeypatch):
    images, labels = make_data(10)
    for is_terminal in (False, True):
        stderr = io.StringIO()
        stderr.isatty = lambda shown=is_terminal: shown
        monkeypatch.setattr(sys, "stderr", stderr)
        evaluate(always_class_zero, batches(images, labels, 4), batch_size=4, num_classes=3, total=10)
        assert ("evaluation" in stderr.getvalue() and "/10" in stderr.getvalue()) == is_terminal
