"""What is made of measured rates: ratios, shares of the peak, CSV, Markdown, chart."""

import csv

import pytest
from PIL import Image

from scripts.benchmarks.machine import Machine, measure_machine
from scripts.benchmarks.process import Measurement
from scripts.benchmarks.report import number, result_of, write_report
from scripts.benchmarks.tasks import task_named, variant_named

TASK = task_named("densenet100-training", quick=False)
MACHINE = Machine(
    "a CPU", 2, 25.0, "L1d 32K", {"fp32": {"avx2": 150.0, "avx512": 200.0}, "bf16": {"avx512": 400.0}}, 30
)


def measured(name: str, *rates: float, peak_mb: float = 100, task=TASK) -> Measurement:
    return Measurement(task, variant_named(task, name), list(rates), peak_mb=peak_mb)


def test_ratios_are_of_the_same_round():
    reference = measured("torch-eager", 10, 20, 40)
    ours, itself = result_of(TASK, [measured("ours-plain", 30, 80, 40), reference], {}, MACHINE).rows
    assert ours.rate == 40
    assert ours.ratio == 3  # of 3, 4, 1; that of the medians would be 2
    assert itself.ratio == 1
    assert result_of(TASK, [measured("ours-plain", 30)], {}, MACHINE).rows[0].ratio is None


def test_share_of_the_peak_of_its_own_precision():
    rows = result_of(TASK, [measured("ours-plain", 20), measured("torch-bf16", 20)], {}, MACHINE).rows
    assert [row.peak_share for row in rows] == [
        pytest.approx(20 * TASK.flops_per_image / peak) for peak in (200e9, 400e9)
    ]
    assert Machine("a CPU", 2, 25.0, "", {"fp32": {"avx2": 150.0}}).peak("bf16") == 150
    unmeasured = Machine("a CPU", 2, 25.0, "", problem="not measured: no compiler")
    assert result_of(TASK, [measured("ours-plain", 20)], {}, unmeasured).rows[0].peak_share is None
    assert "not measured: no compiler" in "\n".join(unmeasured.lines())


def test_what_is_left_beside_busy_processes(tmp_path):
    task = task_named("densenet100-contention", quick=False)
    rates = {"ours-fp32": (30, 60, 40), "ours-fp32-busy-1": (15, 40, 16), "torch-eager-busy-2": (3, 3, 3)}
    rows = [measured(name, *of_rounds, task=task) for name, of_rounds in rates.items()]
    text = write_report(tmp_path, [result_of(task, rows, {}, MACHINE)], MACHINE, "")
    (line,) = [line for line in text.splitlines() if " keeps " in line]  # torch-eager alone was not measured
    assert line == "- ours-fp32-busy-1 keeps 0.50 of the speed that it has alone; a fair share is 0.50."


def test_where_the_time_goes_and_what_cores_are_worth(tmp_path):
    ours, one_core, plain = (
        measured("ours-fp32", 30, 60, 40),
        measured("one-core-fp32", 20, 20, 25),
        measured("ours-plain", 9),
    )
    ours.parts = [
        {"stem": 0.1, "dense blocks": 0.5},
        {"stem": 0.2, "dense blocks": 0.7},
        {"stem": 0.1, "dense blocks": 0.6},
    ]
    plain.parts = [{"stem": 0.0, "dense blocks": 0.0}]  # it does without the kernels
    text = write_report(tmp_path, [result_of(TASK, [ours, one_core, plain], {}, MACHINE)], MACHINE, "")
    lines = text.splitlines()
    table = lines.index("| share of a step | stem | dense blocks | all else |")
    assert lines[table + 2 : table + 4] == ["| ours-fp32 | 10.0% | 60.0% | 30.0% |", ""]
    assert "- ours-fp32 is 1.60 times as fast on all cores as on one." in lines  # of 1.5, 3, 1.6
    rows = list(csv.DictReader((tmp_path / "benchmark.csv").open()))
    assert [row["parts"] for row in rows] == ["stem 0.1000, dense blocks 0.6000", "", ""]


def test_the_three_files(tmp_path):
    pipeline = task_named("pipeline-jpeg", quick=False)
    measurements = [measured("ours-plain", 30, 50, 40, peak_mb=512.4), measured("torch-eager", 10, 20, 16)]
    result = result_of(TASK, measurements, {"ours-bf16": "no kernels"}, MACHINE)
    pipes = [measured("ours", 1500, task=pipeline), measured("torch-dataloader", 500, task=pipeline)]
    results = [result, result_of(pipeline, pipes, {}, MACHINE)]
    text = write_report(tmp_path, results, MACHINE, "python scripts/benchmark.py")

    assert sorted(path.name for path in tmp_path.iterdir()) == ["benchmark.csv", "benchmark.md", "benchmark.png"]
    rows = list(csv.DictReader((tmp_path / "benchmark.csv").open()))
    assert [(row["task"], row["variant"], row["images_per_second"]) for row in rows] == [
        ("densenet100-training", "ours-plain", "40"),
        ("densenet100-training", "torch-eager", "16"),
        ("pipeline-jpeg", "ours", "1500"),
        ("pipeline-jpeg", "torch-dataloader", "500"),
    ]
    assert (rows[0]["min"], rows[0]["max"], rows[0]["ratio"], rows[0]["rounds"]) == ("30", "50", "2.5", "30 50 40")
    assert rows[2]["ratio"] == "3" and rows[2]["peak_share"] == ""
    assert (tmp_path / "benchmark.md").read_text("utf-8") == text
    assert "| **ours-plain** | this project, cpu_kernels off | 40.0 | 30.0..50.0 | 2.50 | 34.6% | 512 |" in text
    assert "- ours-bf16 is left out: no kernels" in text
    assert "Measured peak: 150 GFLOP/s fp32 with avx2, 200 GFLOP/s fp32 with avx512, 400 GFLOP/s bf16 with av" in text
    with Image.open(tmp_path / "benchmark.png") as chart:
        assert chart.format == "PNG" and min(chart.size) > 150


def test_a_task_without_a_single_variant_is_reported(tmp_path):
    text = write_report(
        tmp_path, [result_of(TASK, [], {"torch-eager": "No module named 'torch'"}, MACHINE)], MACHINE, "c"
    )
    assert "- torch-eager is left out: No module named 'torch'" in text


@pytest.mark.parametrize(
    "value, shown",
    [(0.1234, "0.123"), (1.0, "1.00"), (9.5, "9.50"), (12.34, "12.3"), (123.4, "123"), (12345.6, "12,346")],
)
def test_numbers_have_three_digits(value, shown):
    assert number(value) == shown


@pytest.mark.slow
def test_the_machine_is_measured():
    machine = measure_machine(1, 0.001)
    assert machine.cpu and machine.cores == 1 and machine.memory_gb > 0 and not machine.problem
    assert machine.peak("fp32") > 1 and machine.bandwidth > 0.1


def test_a_machine_without_a_compiler(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    machine = measure_machine(1, 0.001)
    assert machine.peak("fp32") is None and machine.bandwidth is None
    assert "no-such-compiler" in machine.problem
