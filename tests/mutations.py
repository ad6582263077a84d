"""Forty ways to break the code that the tests notice; `scripts/mutate.py` tries them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutation:
    """`before`, which occurs once in the files that match the pattern `place`, becomes `after`: `what` is then wrong.

    tests: files or test ids, of which at least one fails then; they are quick, others may notice it too.
    """

    what: str
    place: str
    before: str
    after: str
    tests: tuple[str, ...]


def _kernel(what: str, before: str, after: str, case: str, test: str = "test_operator") -> Mutation:
    """Of the C++ kernels, with a case of tests/ops/test_numerics.py; AVX2 is what every x86 machine has."""
    return Mutation(what, "src/ops/cpp/**/*", before, after, (f"tests/ops/test_numerics.py::{test}[avx2-{case}]",))


SCHEDULE = ("tests/lr_scheduler/test_lr_scheduler.py",)
SGD = "tests/optimizers/test_sgd.py::test_equals_pytorchs_algorithm"
SAMPLER = ("tests/datasets/test_sampler.py",)
TRAINER, STEP = "tests/training/test_trainer.py", "tests/training/test_step.py"
BLOCK = "block-1-7-5-3-1-1-1"  # the smallest one
TRANSITION = "transition-2-7-5-3-1-avg"

MUTATIONS = (
    # Schedule, loss, optimizer
    Mutation("a milestone comes a step late", "src/**/*.py",
             "bisect_right(milestone_steps, step)", "bisect_right(milestone_steps, step - 1)", SCHEDULE),
    Mutation("the cosine is a step ahead", "src/**/*.py",
             "math.cos(math.pi * step / total_steps)", "math.cos(math.pi * (step + 1) / total_steps)", SCHEDULE),
    Mutation("the warm-up begins at zero", "src/**/*.py",
             "min((step + 1) / warmup_steps, 1.0)", "min(step / warmup_steps, 1.0)", SCHEDULE),
    Mutation("the smoothed label keeps its whole weight", "src/losses/*.py",
             "loss = (1.0 - self.label_smoothing) * loss +", "loss = loss +", ("tests/losses/test_crossentropy.py",)),
    Mutation("weight decay pushes weights away from zero", "src/optimizers/*.py",
             "gradient + weight_decay * parameter", "gradient - weight_decay * parameter",
             (f"{SGD}[0.9-0.01-False-False-mindspore]",)),
    Mutation("normalisations and biases decay", "src/optimizers/*.py",
             "decay_norm_and_bias or parameter.ndim > 1", "decay_norm_and_bias or parameter.ndim > 0",
             (f"{SGD}[0.9-0.01-False-False-mindspore]",)),
    Mutation("Nesterov's step looks too far ahead", "src/optimizers/*.py",
             "lr * (gradient + momentum * velocity)", "lr * (gradient + velocity)",
             (f"{SGD}[0.9-0.01-False-True-mindspore]",)),
    Mutation("plain momentum adds the gradient twice (C++)", "src/ops/cpp/**/*",
             "direct = sgd.nesterov ? 1.0f : 0.0f", "direct = sgd.nesterov ? 1.0f : 1.0f",
             (f"{SGD}[0.9-0.01-False-False-kernels]",)),
    # Which images, and what is made of them
    Mutation("an evaluation leaves out what does not divide by the ranks", "src/datasets/*.py",
             "np.arange(rank, num_images, world_size)",
             "np.arange(rank, num_images - num_images % world_size, world_size)", SAMPLER),
    Mutation("all epochs have one order", "src/datasets/*.py",
             "np.random.default_rng([seed, epoch])", "np.random.default_rng([seed, 0])", SAMPLER),
    Mutation("test records are trained on", "src/datasets/*.py",
             '{"train": "data_batch_*.bin"', '{"train": "*_batch*.bin"', ("tests/datasets/test_cifar10.py",)),
    Mutation("a resumed epoch begins anew", "src/datasets/*.py",
             ".skip(first_batch)", ".skip(0)",
             ("tests/datasets/test_classification.py::test_a_resumed_epoch_is_the_tail_of_the_uninterrupted_one_bit_for_bit",)),
    Mutation("pictures are normalised by another white", "src/datasets/*.py",
             "std = [255 * value", "std = [256 * value",
             ("tests/datasets/test_preprocessing.py::test_small_pictures_of_their_own_size_are_only_normalised",)),
    # The training loop
    Mutation("each epoch is evaluated", "src/training/*.py",
             "last or (progress.epoch + 1) % plan.eval_interval == 0", "True",
             (f"{TRAINER}::test_best_is_kept_and_evaluation_comes_every_so_many_epochs_and_last",)),
    Mutation("a resumed run counts its epoch's steps from the start", "src/training/*.py",
             "first = progress.images // plan.images_per_step", "first = 0",
             (f"{TRAINER}::test_from_every_checkpoint_the_rest_is_bit_identical",)),
    Mutation("an epoch's mean loss goes on from the one before", "src/training/*.py",
             "self.epoch + 1, 0, 0, Mean()", "self.epoch + 1, 0, 0, self.epoch_loss",
             (f"{TRAINER}::test_log_lines_windows_and_metrics",)),
    Mutation("accumulated gradients are a sum", "src/training/*.py",
             "self._update(sums, scale * self.accumulation_steps", "self._update(sums, scale",
             (f"{STEP}::test_k_micro_batches_of_b_are_one_batch_of_k_times_b",)),
    Mutation("an overflow quarters the loss scale", "src/training/*.py",
             "ops.maximum(scale * 0.5,", "ops.maximum(scale * 0.25,",
             (f"{STEP}::test_an_overflow_skips_the_update_and_is_counted",)),
    Mutation("best.ckpt is the last one", "src/training/*.py",
             'score > progress.best_score', 'score > -1',
             (f"{TRAINER}::test_best_is_kept_and_evaluation_comes_every_so_many_epochs_and_last",)),
    # Evaluation
    Mutation("padding is answered", "src/training/*.py",
             "yield model(padded(images, batch_size))[: len(images)]", "yield model(padded(images, batch_size))",
             ("tests/training/test_evaluation.py",)),
    Mutation("a class outranks itself", "src/utils/*.py",
             "np.arange(self.num_classes) < labels", "np.arange(self.num_classes) <= labels",
             ("tests/utils/test_accuracy.py",)),
    # The network
    Mutation("a ReLU is left out", "src/network/*.py",
             "self.conv2(ops.relu(self.norm2(x)))", "self.conv2(self.norm2(x))",
             ("tests/network/test_densenet.py::test_equals_the_paper_in_numpy",)),
    Mutation("DenseNet-169 has another last block", "src/network/*.py",
             '"block_config": (6, 12, 32, 32)', '"block_config": (6, 12, 32, 24)',
             ("tests/network/test_densenet.py::test_size",)),
    Mutation("dropout repeats its mask", "src/network/*.py",
             "ms.Tensor([0, 1], ms.int32)", "ms.Tensor([0, 0], ms.int32)",
             ("tests/network/test_dropout.py::test_restored_state_goes_on_bit_for_bit",)),
    # Files
    Mutation("checkpoints carry no checksum", "src/utils/*.py",
             '"crc_check": True', '"crc_check": False',
             ("tests/utils/test_checkpoint.py::test_every_flipped_byte_is_noticed",)),
    Mutation("half a file takes its place", "src/utils/*.py",
             "with written_beside(path, write) as temporary:\n        temporary.replace(path)", "write(path)",
             ("tests/utils/test_files.py::test_a_failed_write_leaves_the_old_file_and_nothing_else",)),
    Mutation("a description fits any file", "src/deploy/*.py",
             'if values.get("sha256") != digest:', "if False:", ("tests/deploy/test_manifest.py",)),
    Mutation("a result that is too long is counted", "src/deploy/*.py",
             "if len(data) != expected:", "if len(data) < expected:", ("tests/deploy/test_postprocess.py",)),
    Mutation("PyTorch's layers are counted from 0", "src/deploy/*.py",
             "int(found[1]) + 1", "int(found[1])", ("tests/deploy/test_torch_names.py",)),
    # Configuration, jobs, ModelArts
    Mutation("a bound itself is let through", "src/**/*.py",
             "option.gt is None or number > option.gt", "option.gt is None or number >= option.gt",
             ("tests/schema/test_values.py",)),
    Mutation("bad usage is tried again", "src/launch/*.py",
             "not in _STOPPED | {_USAGE}", "not in _STOPPED",
             ("tests/launch/test_supervisor.py::test_the_first_that_fails_ends_the_others",)),
    Mutation("ranks share a core", "src/launch/*.py",
             "(share + 1) * len(cores) // shares", "(share + 1) * len(cores) // shares + 1",
             ("tests/launch/test_worker.py",)),
    Mutation("kernels normalise over one rank of two", "src/ops/*.py",
             "if norm_ranks > 1:", "if norm_ranks > 2:", ("tests/ops/test_select.py",)),
    Mutation("what was uploaded is uploaded again", "src/model_utils/*.py",
             "if uploaded.get(name) != mark:", "if True:",
             ("tests/model_utils/test_moxing_adapter.py::test_only_what_changed_is_copied_during_the_run",)),
    # C++: kernels and the program for Ascend 310
    _kernel("a gradient of Winograd's products has the wrong sign", "d_first - d_second, -d_second}};",
            "d_first - d_second, d_second}};", BLOCK),
    _kernel("an output of Winograd's tiles has the wrong coefficient", "kPP * even_p + kQQ * even_q;",
            "kPP * even_p + kPP * even_q;", "block-1-12-8-256-7-2-2"),
    _kernel("the transition's pool hands on half of the gradient", "* Pool::kShare;", "* 2 * Pool::kShare;",
            TRANSITION),
    _kernel("running variances are the biased ones", "std::max(count - 1, 1L)", "std::max(count, 1L)", TRANSITION),
    _kernel("digits are lost where values are far from zero", "const Vec shift = load(column);",
            "const Vec shift = {};", "transition-2-12-11-24-12-avg", "test_statistics_of_outputs_far_from_zero"),
    Mutation("halved pictures are rounded down", "ascend310_infer/src/*",
             "target[c] = static_cast<uint8_t>((sum + 2) >> 2);", "target[c] = static_cast<uint8_t>(sum >> 2);",
             ("tests/deploy/test_cpp_preprocessing.py::test_every_form_of_picture_is_the_same_bit_for_bit",)),
    Mutation("the mean is rounded once more", "ascend310_infer/src/*",
             "static_cast<float>(255 * preprocessing.mean[c])", "255 * static_cast<float>(preprocessing.mean[c])",
             ("tests/deploy/test_cpp_preprocessing.py::test_normalisation_rounds_as_in_python",)),
)  # fmt: skip
