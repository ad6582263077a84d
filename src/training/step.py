"""One training step as a single graph, the same on every device: forward, loss, gradients, scaling, optimizer."""

import itertools
from dataclasses import dataclass

import mindspore as ms
from mindspore import Parameter, Tensor, nn, ops

from src.utils.graph_cache import CachedCell, GraphCache

SCALE_WINDOW = 1000  # steps without overflow after which a dynamic loss scale doubles (the usual 1000 to 2000)

# Over the parameters with HyperMap, not in loops: MindSpore unrolls a loop into nested calls and gives up at 1000.
_add = ops.MultitypeFuncGraph("add_gradient")
_clear = ops.MultitypeFuncGraph("clear_gradient")
_multiply = ops.MultitypeFuncGraph("multiply_gradient")
_flatten = ops.MultitypeFuncGraph("flatten_gradient")
_cut_out = ops.MultitypeFuncGraph("cut_out_gradient")


@_add.register("Tensor", "Tensor")
def _add_one(total: Tensor, gradient: Tensor) -> Tensor:
    return ops.assign_add(total, gradient)


@_clear.register("Tensor", "Tensor")
def _clear_one(updated: Tensor, total: Tensor) -> Tensor:
    return ops.assign(total, ops.depend(ops.zeros_like(total), updated))


@_flatten.register("Tensor")
def _flatten_one(gradient: Tensor) -> Tensor:
    return gradient.reshape(-1)


@_cut_out.register("Tensor", "Tensor", "Number")
def _cut_out_one(flat: Tensor, gradient: Tensor, offset: int) -> Tensor:
    return flat[offset : offset + gradient.size].reshape(gradient.shape)


@_multiply.register("Tensor", "Tensor")
def _multiply_one(factor: Tensor, gradient: Tensor) -> Tensor:
    return gradient * factor


@dataclass(frozen=True)
class LossScaling:
    """How the loss is scaled before the backward pass: kind is none, fixed or dynamic; value is the (first) factor."""

    kind: str = "none"
    value: float = 1024.0


NO_SCALING = LossScaling()


def resolve_loss_scaling(kind: str, value: float, amp_level: str) -> LossScaling:
    """`auto` is none for O0, whose float32 gradients do not underflow, and dynamic for the float16 levels."""
    if kind == "auto":
        kind = "none" if amp_level == "O0" else "dynamic"
    return LossScaling(kind, value)


class TrainStep(CachedCell):
    """Trains on one micro-batch; after `accumulation_steps` of them the weights are updated once.

    construct(images (B, 3, H, W) float32, labels (B,) int32, learning_rate () float32, is_last () bool, *mix)
        -> (loss () float32 of this micro-batch, mean over the ranks,
            finite () bool: False when an overflow made the update be skipped,
            right () float32: the share of its images whose answer, in training, is the label, of mixed images that of
            which there is more; nan of several labels an image)

    mix: nothing, or permutation, keep and share of `src.datasets.mixing.Mix`, as which the images are then mixed, a
    with b, and the loss is share * loss(labels of a) + (1 - share) * loss(labels of b). With a `teacher`
    (`src/training/teacher.py`), which answers the same images, it is 1 - teacher_weight of that, and teacher_weight of
    `distillation` (logits, teacher's logits).

    The gradient of an update is the mean over its micro-batches and over the ranks. `max_norm` > 0 scales it so that
    its global L2 norm is at most that. With scaling fixed or dynamic, an update whose gradient is not finite is
    skipped and counted in `skipped_steps`; dynamic then halves the scale, and doubles it after SCALE_WINDOW good steps
    (Micikevicius et al. 2018, section 3.2). decide_together: the ranks skip an update together, where `all_finite` asks
    each device for its own overflow flag (an Ascend that saturates) and not the common gradient. `average` follows the
    weights after each real update, see `src/optimizers/average.py`.
    """

    def __init__(
        self,
        network: nn.Cell,
        loss: nn.Cell,
        optimizer: nn.Cell,
        *,
        scaling: LossScaling = NO_SCALING,
        max_norm: float = 0.0,
        accumulation_steps: int = 1,
        world_size: int = 1,
        decide_together: bool = False,
        average: nn.Cell | None = None,
        teacher: nn.Cell | None = None,
        distillation: nn.Cell | None = None,
        teacher_weight: float = 0.0,
        graph_cache: GraphCache | None = None,
    ) -> None:
        super().__init__(auto_prefix=False)
        self.graph_cache = graph_cache
        self.network = network
        self.network.set_grad()
        self.loss = loss
        self.optimizer = optimizer
        self.average = average
        self.teacher, self.distillation, self.teacher_weight = teacher, distillation, teacher_weight
        self.scaling = scaling.kind
        self.max_norm = max_norm
        self.accumulation_steps = accumulation_steps
        weights = ms.ParameterTuple(network.trainable_params())
        if scaling.kind != "none":
            self.loss_scale = _state("loss_scale", scaling.value, ms.float32)
            self.good_steps = _state("good_steps", 0, ms.int32)
            self.skipped_steps = _state("skipped_steps", 0, ms.int32)
        if accumulation_steps > 1:
            self.sums = weights.clone("gradient_sums", init="zeros")
        self.world_size = world_size
        self.decide_together = decide_together and world_size > 1
        if world_size > 1:
            self.concatenate = ops.Concat(0)  # the function ops.concat is one more call a tensor
            self.offsets = tuple(itertools.accumulate((parameter.size for parameter in weights[:-1]), initial=0))
            self.sum_over_ranks = ops.AllReduce(ops.ReduceOp.SUM)
        self.for_each = ops.HyperMap()
        self.loss_and_gradients = ms.value_and_grad(self._scaled_loss, None, weights, has_aux=True)
        self.set_train()

    def saved_parameters(self) -> list[Parameter]:
        """All state that survives a restart. Gradient sums do not: they are zero between two updates. Nor does the
        teacher, which has a file of its own.
        """
        return [p for p in self.get_parameters() if not p.name.startswith(("gradient_sums.", "teacher."))]

    def followed_statistics(self) -> list[Parameter]:
        """Batch normalisation's running statistics and their averages, those of frozen layers left out."""
        followed = self.network.followed_statistics()
        return [*followed, *(self.average.averages_of(followed) if self.average is not None else ())]

    def construct(
        self, images: Tensor, labels: Tensor, learning_rate: Tensor, is_last: Tensor, *mix: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """See the class."""
        scale = ops.ones((), ms.float32)
        if self.scaling != "none":
            scale = self.loss_scale.value()
        others = ()
        if len(mix) > 0:
            permutation, keep, share = mix
            images = images * keep + ops.gather(images, permutation, 0) * (1.0 - keep)
            others = (ops.gather(labels, permutation, 0), share)
        if self.teacher is not None:
            others = (*others, self.teacher(images))
        (loss, right), gradients = self.loss_and_gradients(images, labels, scale, *others)
        loss = loss / scale
        if self.world_size > 1:
            loss, right = self.sum_over_ranks(ops.stack((loss, right))) / self.world_size
        # Always true, but a tensor: both branches of the condition below have to give the same type.
        finite = ops.logical_or(is_last, True)
        if self.accumulation_steps == 1:
            updated, finite = self._update(gradients, scale, learning_rate)
            return ops.depend(loss, updated), finite, right
        sums = self.for_each(_add, self.sums, gradients)
        if is_last:
            updated, finite = self._update(sums, scale * self.accumulation_steps, learning_rate)
            cleared = self.for_each(ops.partial(_clear, updated), self.sums)
            loss = ops.depend(loss, cleared)
        else:
            loss = ops.depend(loss, sums)
        return loss, finite, right

    def _scaled_loss(self, images: Tensor, labels: Tensor, scale: Tensor, *others: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.network(images)
        loss = self.loss(logits, labels)
        dominant = labels
        if len(others) > 1:
            other_labels, share = others[:2]
            dominant = ops.where(share >= 0.5, labels, other_labels)
            loss = share * loss + (1.0 - share) * self.loss(logits, other_labels)
        if self.teacher is not None:
            taught = self.distillation(logits, others[-1])
            loss = (1.0 - self.teacher_weight) * loss + self.teacher_weight * taught
        return loss * scale, _share_right(logits, dominant)

    def _update(self, gradients: tuple, divisor: Tensor, learning_rate: Tensor) -> tuple:
        """Apply gradients / divisor; returns (something to depend on, whether they were finite)."""
        if self.world_size > 1:
            gradients = self._mean_over_ranks(gradients)
        if self.scaling == "none":
            if self.accumulation_steps > 1:
                gradients = self._divide(gradients, divisor)
            return self._apply(gradients, learning_rate), ops.ones((), ms.bool_)
        finite = self._are_finite(gradients)
        if finite:  # noqa: SIM108 - a tensor: this is control flow in the graph, and only one side runs
            updated = self._apply(self._divide(gradients, divisor), learning_rate)
        else:
            updated = self._skip()
        if self.scaling == "dynamic":
            updated = self._adjust_scale(finite, updated)
        return updated, finite

    def _are_finite(self, gradients: tuple) -> Tensor:
        finite = ms.amp.all_finite(gradients)
        if self.decide_together:
            finite = self.sum_over_ranks(finite.astype(ms.float32)) > self.world_size - 0.5
        return finite

    def _mean_over_ranks(self, gradients: tuple) -> tuple:
        """One all-reduce for all gradients: hundreds of small ones wait for each other's latency."""
        flat = self.concatenate(self.for_each(_flatten, gradients))
        mean = self.sum_over_ranks(flat) / self.world_size
        return self.for_each(ops.partial(_cut_out, mean), gradients, self.offsets)

    def _divide(self, gradients: tuple, divisor: Tensor) -> tuple:
        return self.for_each(ops.partial(_multiply, 1.0 / divisor), gradients)

    def _apply(self, gradients: tuple, learning_rate: Tensor) -> Tensor:
        if self.max_norm > 0:
            gradients = ops.clip_by_global_norm(gradients, self.max_norm)
        updated = self.optimizer(gradients, learning_rate)
        if self.average is not None:
            updated = self.average(updated)
        return ops.depend(ops.ones((), ms.bool_), updated)

    def _skip(self) -> Tensor:
        return ops.depend(ops.ones((), ms.bool_), ops.assign_add(self.skipped_steps, Tensor(1, ms.int32)))

    def _adjust_scale(self, finite: Tensor, updated: Tensor) -> Tensor:
        good = ops.select(finite, self.good_steps.value() + 1, ops.zeros((), ms.int32))
        grow = good >= SCALE_WINDOW
        scale = self.loss_scale.value()
        scale = ops.select(
            finite, ops.select(grow, scale * 2.0, scale), ops.maximum(scale * 0.5, Tensor(1.0, ms.float32))
        )
        good = ops.select(grow, ops.zeros((), ms.int32), good)
        written = (ops.assign(self.loss_scale, ops.depend(scale, updated)), ops.assign(self.good_steps, good))
        return ops.depend(updated, written)


def _share_right(logits: Tensor, labels: Tensor) -> Tensor:
    if labels.ndim > 1:
        return ops.full((), float("nan"), dtype=ms.float32)
    return (ops.argmax(logits, 1).astype(ms.int32) == labels).astype(ms.float32).mean()


def _state(name: str, value: float, dtype: ms.dtype) -> Parameter:
    return Parameter(Tensor(value, dtype), name=name, requires_grad=False)
