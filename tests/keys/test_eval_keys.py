"""What the keys of eval.py do, and those that eval_onnx.py has as well."""

import csv

import pytest
from commands import FEW_HELD_OUT, only, write_pictures
from keys.runs import ONNX, predictions

import eval as evaluation
import eval_onnx
from src.training import evaluation_report
from src.utils.errors import UsageError

pytestmark = pytest.mark.slow

EVALUATORS = pytest.mark.parametrize("command", ["eval", "eval_onnx"])


@pytest.fixture(scope="module")
def base_predictions(planned, tmp_path_factory) -> str:
    return predictions(planned("").last, tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def evaluator(planned, exported):
    """command -> (its main, what it evaluates)."""
    commands = {"eval": (evaluation.main, planned("").last), "eval_onnx": (eval_onnx.main, exported(ONNX).path)}
    return commands.__getitem__


def test_eval_refuses_another_network_and_follows_another_image_size(planned, base_predictions, tmp_path):
    with pytest.raises(UsageError, match=r"growth_rate is 6, but .* was made with 4; leave --growth_rate out"):
        predictions(planned("").last, tmp_path, "--growth_rate", "6")
    assert predictions(planned("").last, tmp_path, "--image_size", "16", "--lr", "1") != base_predictions
    logs = [path.read_text() for path in (tmp_path / "out").glob("*/eval.log")]
    assert any("eval.py does not use --lr" in log for log in logs)


def test_eval_image_size_is_the_input_s_in_evaluations(planned, base_predictions, tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
    checkpoint = planned("").last
    found = predictions(checkpoint, tmp_path / "a", "--eval_image_size", "16")
    assert found != base_predictions
    assert found == predictions(checkpoint, tmp_path / "b", "--image_size", "16")
    with pytest.raises(UsageError, match="found image_size 8 and eval_image_size 16, expected one size"):
        predictions(checkpoint, tmp_path, "--image_size", "8", "--eval_image_size", "16")


def test_cache_keeps_the_pictures_and_changes_no_answer(planned, places, tmp_path, monkeypatch):
    """And a second evaluation finds them."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    checkpoint, data = planned("").last, ["--dataset", "folder", "--eval_data_dir", places["twenty"]]
    found = []
    for name, flags in (("a", []), ("b", ["--cache", "disk"]), ("c", ["--cache", "disk"])):
        (tmp_path / name).mkdir()
        found.append(predictions(checkpoint, tmp_path / name, *data, *flags))
        (log,) = (tmp_path / name / "out").glob("*/eval.log")
        assert ("cache disk: 1 MB for 20 held-out pictures" in log.read_text()) == bool(flags)
        assert (f", found in {tmp_path}" in log.read_text()) == (name == "c")
    assert found[0] == found[1] == found[2]


def test_an_engine_file_is_evaluated_as_its_checkpoint(exported, base_predictions, tmp_path):
    """Every image once, in the same order, with the same answers; what it says itself is not asked for again."""
    model = exported("--file_format ENGINE").path
    table, out = tmp_path / "predictions.csv", ["--save_ckpt_path", str(tmp_path / "out")]
    argv = ["--engine", str(model), *out, "--per_batch_size", "100"]
    (accuracy,) = evaluation.main([*argv, "--predictions", str(table)]).values()
    assert accuracy.seen == FEW_HELD_OUT
    rows, expected = (list(csv.DictReader(text.splitlines())) for text in (table.read_text(), base_predictions))
    assert [row["image"] for row in rows] == [row["image"] for row in expected]
    for row, other in zip(rows, expected, strict=True):
        assert float(row["probability1"]) == pytest.approx(float(other["probability1"]), abs=1e-4)
    assert accuracy.top1_correct == sum(row["top1"] == row["label"] for row in rows)
    (log,) = (tmp_path / "out").glob("*/eval.log")
    assert f"after allreduce eval: top1_correct={accuracy.top1_correct}, tot={FEW_HELD_OUT}," in log.read_text()
    with pytest.raises(UsageError, match=r"found growth_rate 6 with engine .*, which says it itself; leave it out"):
        evaluation.main([*argv, "--growth_rate", "6"])


@EVALUATORS
def test_tta_answers_with_a_picture_and_its_mirror_image(command, evaluator, base_predictions, tmp_path):
    for name in ("single", "both"):
        (tmp_path / name).mkdir()
    main, model = evaluator(command)
    single = base_predictions if command == "eval" else predictions(model, tmp_path / "single", main=main)
    both = predictions(model, tmp_path / "both", "--tta", main=main)
    assert both != single
    (log,) = (tmp_path / "both" / "out").glob(f"*/{command}.log")
    assert "each answer is the mean of the probabilities of the image and its mirror image" in log.read_text()


def test_eval_is_distributed(command_line, tmp_path):
    main, flags = command_line("eval")
    main([*flags, "--is_distributed", "0"])
    assert "running stand-alone: is_distributed is 0" in (only(tmp_path / "out") / "eval.log").read_text()


def test_eval_cpu_kernels(command_line, tmp_path):
    main, flags = command_line("eval")
    for value in ("on", "off"):
        main([*flags, "--cpu_kernels", value, "--save_ckpt_path", str(tmp_path / value)])
        log = (only(tmp_path / value) / "eval.log").read_text()
        assert log.count("the C++ kernels are used") == (value == "on")


def test_eval_ckpt_files_and_predictions(planned, base_predictions, tmp_path):
    """Another file gives other answers; the answers are written only when asked for."""
    assert predictions(planned("--seed 2").last, tmp_path) != base_predictions
    evaluation.main(["--ckpt_files", str(planned("").last), "--save_ckpt_path", str(tmp_path / "quiet")])
    assert not list((tmp_path / "quiet").glob("**/predictions*"))


@EVALUATORS
def test_dataset_and_eval_data_dir(command, evaluator, tmp_path):
    """Class folders that show digits instead of the bundled ones, and then other folders."""
    main, model = evaluator(command)
    for each in (1, 2):
        write_pictures(tmp_path / f"{each} each", tuple("0123456789"), each)
        (tmp_path / f"of {each} each").mkdir()
        flags = ["--dataset", "folder", "--eval_data_dir", str(tmp_path / f"{each} each")]
        table = predictions(model, tmp_path / f"of {each} each", *flags, main=main)
        assert len(table.splitlines()) == 1 + 10 * each
    assert len(predictions(model, tmp_path, main=main).splitlines()) == 1 + FEW_HELD_OUT
    with pytest.raises(UsageError, match="found no eval_data_dir"):
        predictions(model, tmp_path, "--dataset", "cifar10", main=main)


@EVALUATORS
def test_per_batch_size_and_workers(command, evaluator, tmp_path, monkeypatch):
    asked = []
    main, model = evaluator(command)

    def batches(*arguments, **named):
        asked.append(named)
        return real(*arguments, **named)

    real = evaluation_report.evaluation_batches
    monkeypatch.setattr(evaluation_report, "evaluation_batches", batches)
    for name, flags in (("a", "--per_batch_size 7 --num_parallel_workers 1"), ("b", "--per_batch_size 50")):
        (tmp_path / name).mkdir()
        predictions(model, tmp_path / name, *flags.split(), main=main)
    assert [call["batch_size"] for call in asked] == [7, 50]
    assert asked[0]["workers"] == 1


@EVALUATORS
def test_eval_config_path(command, command_line, tmp_path):
    main, flags = command_line(command)
    (tmp_path / "other.yaml").write_text(f"predictions: {tmp_path / 'from_yaml.csv'}\n")
    main([*flags, "--config_path", str(tmp_path / "other.yaml")])
    assert (tmp_path / "from_yaml.csv").is_file()
