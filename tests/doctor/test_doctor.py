"""What the doctor says of machines that lack something, each a stand-in for everything that its rows look at."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import mindspore
import pytest
from commands import ROOT
from mindspore.run_check._check_version import AscendEnvChecker

from src.doctor import __main__ as command
from src.doctor.examination import examine
from src.doctor.machine import NOT_FOUND, TIMED_OUT, Done, Machine, this_machine
from src.doctor.row import OK, PROBLEM, WARNING
from src.doctor.software import is_within, requirements
from src.model_utils.accelerators import CANN_DOCUMENTED, CANN_VERSIONS, CUDA_VERSIONS, DOCUMENTED_CUDA_DRIVERS
from src.utils.errors import ReportedError

VERSIONS = {"mindspore": "2.10.0", "numpy": "1.26.4", "pyyaml": "6.0.4", "onnx": "1.23.2", "onnxruntime": "1.32.0",
            "pillow": "13.0.0", "tqdm": "4.70.1", "tensorboardX": "2.6.5", "matplotlib": "3.11.2",
            "jinja2": "3.1.6", "flask": "3.1.3", "waitress": "3.0.2", "safetensors": "0.8.0",
            "huggingface_hub": "2.4.0", "scikit-learn": "1.9.1"}  # fmt: skip
ANSWER = {"version": "2.10.0", "seconds": 1.4, "devices": {"Ascend": 0, "GPU": 0, "CPU": 1}, "msrun": ""}
MEMINFO = "MemTotal: 32000000 kB\nMemAvailable: 30000000 kB\n"
PYTHON = "/env/bin/python"
UTF8 = {"LANG": "C.UTF-8"}
DRIVER, CANN = "usr/local/Ascend/driver/version.info", "cann/compiler/version.info"
CUDA = "usr/local/cuda/version.json"
NO_LIBRARY = "Load dynamic library: libmindspore_ascend.so.2 failed. libge_runner.so: no such file\n"
SMI = "NVIDIA A10, 8.6, 535.104.05\n"


def said(answers):
    """A `run` that answers what contains a word of `answers`, and the usual otherwise."""
    usual = {
        "cluster.run": f"found:{json.dumps(ANSWER)}",
        "onnxruntime": "found:CPUExecutionProvider",
        "--version": "g++ 12",
    }

    def run(words, _seconds):
        line = " ".join(map(str, words))
        for key, answer in (usual | answers).items():
            if key in line:
                return answer if isinstance(answer, Done) else Done(0, answer)
        return Done(NOT_FOUND, "")

    return run


def versions(**changed):
    return lambda name: (VERSIONS | {key.replace("_", "-"): value for key, value in changed.items()}).get(name)


def answering(**changed):
    return {"run": said({"cluster.run": f"noise\nfound:{json.dumps(ANSWER | changed)}\n"})}


@pytest.fixture
def machine(tmp_path) -> Machine:
    """One on which all is well. Files below its root can be made."""
    for name in ("dev/shm", "usr/include", "home"):
        (tmp_path / name).mkdir(parents=True)
    for name, text in {"proc/meminfo": MEMINFO, "usr/include/png.h": "", "usr/include/jpeglib.h": ""}.items():
        place = tmp_path / name
        place.parent.mkdir(exist_ok=True)
        place.write_text(text)
    return Machine(
        root=tmp_path,
        environ={"LANG": "en_US.UTF-8"},
        folder=Path("/work"),
        temporary=Path("/scratch"),
        python=(3, 11, 7),
        executable=PYTHON,
        system="Linux",
        processor="x86_64",
        file_encoding="utf-8",
        output_encoding="utf-8",
        cores=8,
        open_files=4096,
        now=1.8e9,
        version_of=versions(),
        which=lambda name: name if name.startswith("/") else f"/usr/bin/{name}",
        run=said({}),
        free=lambda _: 10**11,
        why_not_writable=lambda _: "",
        why_no_cache=lambda: "",
        can_listen=lambda _: True,
        kernels=lambda: (True, "the C++ kernels are used: avx512"),
    )


def without(*names):
    return lambda name: None if name.split("/")[-1] in names else f"/usr/bin/{name}"


ASCEND = {
    "dev/davinci0": "", "dev/davinci1": "", "dev/davinci_manager": "", "dev/devmm_svm": "", "dev/hisi_hdc": "",
    DRIVER: "Version=25.2.0\n",
    "usr/local/Ascend/firmware/version.info": "Version=7.7.0\n",
    CANN: "Version=9.1.0\n",
}  # fmt: skip
LOADED = {"LANG": "C.UTF-8", "ASCEND_HOME_PATH": "/cann", "ASCEND_OPP_PATH": "/cann/opp",
          "LD_LIBRARY_PATH": "/usr/local/Ascend/lib64", "PYTHONPATH": "/usr/local/Ascend/python"}  # fmt: skip
SEES_ASCEND = answering(devices={"Ascend": 2, "GPU": 0, "CPU": 1})
WELL_ASCEND = {"environ": LOADED, **SEES_ASCEND}
GPU = {"dev/nvidia0": "", CUDA: '{"cuda": {"version": "11.6.20220110"}}'}
SEES_GPU = {"cluster.run": f"found:{json.dumps(ANSWER | {'devices': {'Ascend': 0, 'GPU': 1, 'CPU': 1}})}"}
CUDA_PROVIDER = {"onnxruntime": "found:CUDAExecutionProvider,CPUExecutionProvider"}


def gpu(smi=SMI, **answers):
    return {"run": said({**SEES_GPU, **CUDA_PROVIDER, "nvidia-smi": smi, **answers})}


def nothing(*_):
    return None


# what is different, the files that are different, the row, its verdict, and what it says
SITUATIONS = [
    ({"python": (3, 9, 1)}, {}, "Python", PROBLEM, "Python 3.9.1"),
    ({"python": (3, 13, 0)}, {}, "Python", PROBLEM, "3.10 to 3.12"),
    ({"system": "Darwin"}, {}, "Python", PROBLEM, "runs on Linux"),
    ({"processor": "riscv64"}, {}, "Python", PROBLEM, "x86_64 and aarch64"),
    ({"version_of": versions(tqdm=None)}, {}, "packages", PROBLEM, "missing: tqdm"),
    ({"version_of": versions(onnx="1.16.0")}, {}, "packages", WARNING, "onnx 1.16.0 instead of >=1.17,<2"),
    ({"version_of": versions(mindspore_gpu="1.9.0")}, {}, "rival packages", PROBLEM, "mindspore and mindspore-gpu"),
    ({"version_of": versions(onnxruntime_gpu="1.20.0")}, {}, "rival packages", PROBLEM, "onnxruntime-gpu"),
    ({"version_of": versions(numpy="2.1.0")}, {}, "NumPy", PROBLEM, "2.1.0, but MindSpore 2.10 was built for NumPy 1"),
    ({"version_of": versions(numpy=None)}, {}, "NumPy", PROBLEM, "not installed"),
    ({"run": said({"cluster.run": Done(1, "ModuleNotFoundError: No module named 'mindspore'")})}, {},
     "MindSpore", PROBLEM, "not installed for /env/bin/python"),
    ({"run": said({"cluster.run": Done(1, "Traceback\nImportError: libgomp.so.1: cannot open")})}, {},
     "MindSpore", PROBLEM, "libgomp.so.1"),
    ({"run": said({"cluster.run": Done(-4, "")})}, {}, "MindSpore", PROBLEM, "killed by signal 4"),
    ({"run": said({"cluster.run": Done(TIMED_OUT, "")})}, {}, "MindSpore", PROBLEM, "took more than 300 s"),
    (answering(version="2.3.1"), {},
     "MindSpore", PROBLEM, "2.3.1, imported in 1.4 s, but this project is written for 2"),
    (answering(seconds=75), {}, "MindSpore", WARNING, "imported in 75.0 s"),
    (answering(devices={"Ascend": 0, "GPU": 0, "CPU": 0}), {}, "devices", PROBLEM, "MindSpore finds none"),
    (answering(msrun="ModuleNotFoundError: x"), {}, "msrun", PROBLEM, "msrun is missing: ModuleNotFoundError"),
    ({"which": without("python")}, {}, "msrun", PROBLEM, "there is no `python` beside /env/bin/python"),
    ({"run": said({"onnxruntime": Done(1, "ImportError: no onnxruntime")})}, {},
     "ONNX Runtime", PROBLEM, "no onnxruntime"),
    ({"can_listen": lambda port: port != 8118}, {},
     "ports", WARNING, "port 8118, at which several hosts meet, is in use"),
    ({"can_listen": lambda _: False}, {}, "ports", PROBLEM, "loopback"),
    ({"which": without("g++", "clang++", "c++")}, {}, "C++ compiler", WARNING, "install g++"),
    ({"which": without("icpx"), "environ": {**UTF8, "CXX": "icpx -O2"}}, {},
     "C++ compiler", WARNING, "CXX names 'icpx'"),
    ({"kernels": lambda: (False, "not used: /proc/cpuinfo names none")}, {}, "C++ kernels", WARNING, "names none"),
    ({"which": without("cmake")}, {}, "C++ program", WARNING, "missing to build it: cmake"),
    ({}, {"usr/include/png.h": None}, "C++ program", WARNING, "libpng-dev"),
    ({"environ": {**UTF8, "LITE_HOME": "/lite"}}, {}, "MindSpore Lite", PROBLEM, "holds no include/api/model.h"),
    ({"environ": {**UTF8, "MA_JOB_DIR": "/x"}}, {}, "moxing", WARNING, "looks like ModelArts"),
    ({}, {"sys/fs/cgroup/cpu.max": "50000 100000"}, "cores", WARNING, "the control group allows 0.5 at a time"),
    ({}, {"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "200000", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000"},
     "cores", WARNING, "bind the process to 2 cores"),
    ({}, {"proc/self/cgroup": "0::/job.slice", "sys/fs/cgroup/job.slice/cpu.max": "300000 100000"},
     "cores", WARNING, "allows 3 at a time"),
    ({"environ": {**UTF8, "OMP_NUM_THREADS": "1"}}, {}, "cores", WARNING, "OMP_NUM_THREADS is 1"),
    ({}, {"proc/meminfo": "MemAvailable: 500000 kB"}, "memory", PROBLEM, "0.5 GB available"),
    ({}, {"sys/fs/cgroup/memory.max": "4000000000", "sys/fs/cgroup/memory.current": "1500000000"},
     "memory", WARNING, "2.5 GB available, of 4.0 GB of the control group"),
    ({}, {"sys/fs/cgroup/memory/memory.limit_in_bytes": "900000000"}, "memory", PROBLEM, "0.9 GB available"),
    ({}, {"proc/meminfo": None}, "memory", WARNING, "says nothing"),
    ({"free": lambda path: 10**8 if path == Path("/work") else 10**11}, {}, "disk", PROBLEM, "0.1 GB free in /work"),
    ({"free": lambda path: 10**9 if path == Path("/scratch") else 10**11}, {}, "temporary disk", WARNING, "set TMPDIR"),
    ({"free": nothing}, {}, "disk", WARNING, "nobody can say"),
    ({"why_not_writable": lambda _: "Read-only file system"}, {}, "disk", PROBLEM, "/work: Read-only file system"),
    ({"why_no_cache": lambda: "this user has no home"}, {}, "cache", WARNING, "this user has no home"),
    ({"free": lambda path: 64 * 10**6 if path.name == "shm" else 10**11}, {}, "shared memory", WARNING, "64 MB free"),
    ({}, {"dev/shm": None}, "shared memory", WARNING, "there is no shm"),
    ({"environ": {"LC_ALL": "C", "LANG": "en_US.UTF-8"}}, {}, "locale", WARNING, "export LC_ALL=C.UTF-8"),
    ({"environ": {"LANG": "de_DE"}, "file_encoding": "iso8859-1"}, {}, "locale", PROBLEM, "files iso8859-1"),
    ({"output_encoding": "ANSI_X3.4-1968"}, {}, "locale", WARNING, "output ANSI_X3.4-1968"),
    ({"open_files": 256}, {}, "open files", WARNING, "ulimit -n 1024"),
    ({"now": 1e6}, {}, "clock", WARNING, "set the clock"),
    ({"environ": {**UTF8, "RANK_TABLE_FILE": "/x.json", "RANK_ID": "3"}}, {},
     "environment", WARNING, "unset RANK_ID RANK_TABLE_FILE"),
    ({"environ": {**UTF8, "ONEDNN_MAX_CPU_ISA": "ALL"}}, {}, "environment", WARNING, "ONEDNN_MAX_CPU_ISA=ALL"),
    (WELL_ASCEND, ASCEND | {DRIVER: "Version=20.2.0\n"},
     "Ascend driver", PROBLEM, "driver 20.2.0, firmware 7.7.0: older than 25.2"),
    (WELL_ASCEND, ASCEND | {DRIVER: "Version=25.0.1\n"}, "Ascend driver", PROBLEM, "CANN 9.1 needs a newer one"),
    (WELL_ASCEND, ASCEND | {DRIVER: "Version=24.1.rc3\n", CANN: "Version=8.5.0\n"},
     "Ascend driver", PROBLEM, "older than 25.0"),
    (WELL_ASCEND, ASCEND | {DRIVER: "Version=unknown\n"}, "Ascend driver", PROBLEM, "driver unknown"),
    (WELL_ASCEND, ASCEND | {DRIVER: None}, "Ascend driver", PROBLEM, "names no version"),
    ({}, {DRIVER: "Version=25.0\n"}, "Ascend driver", PROBLEM, "no davinci device"),
    (WELL_ASCEND, ASCEND | {CANN: "Version=7.0.0\n"}, "CANN", PROBLEM, "MindSpore 2.10 accepts 8.2"),
    (WELL_ASCEND, ASCEND | {CANN: None}, "CANN", PROBLEM, "no compiler/version.info in /cann"),
    (WELL_ASCEND | {"environ": LOADED | {"PYTHONPATH": ""}}, ASCEND, "CANN", PROBLEM, "not loaded: PYTHONPATH"),
    (WELL_ASCEND, ASCEND | {"dev/hisi_hdc": None}, "Ascend device files", PROBLEM, "but not hisi_hdc"),
    ({"environ": LOADED, "run": said({"set_context": Done(1, NO_LIBRARY)})},
     ASCEND, "Ascend in MindSpore", PROBLEM,
     "this host has 2, but MindSpore finds none: libge_runner.so: no such file"),
    (gpu("NVIDIA H100, 9.0, 535.104.05\n"), GPU, "GPU", PROBLEM, "9.0, which CUDA 11.6"),
    (gpu("Tesla M60, 5.2, 470.1\n"), GPU, "GPU", PROBLEM, "kernels begin with 6.0"),
    (gpu("Tesla V100, 7.0, 418.87.01\n"), GPU, "GPU", PROBLEM, "too old for CUDA 11"),
    (gpu("Tesla V100, 7.0, 470.82.01\n"), GPU, "GPU", WARNING, "ask for 510.39 for CUDA 11.6"),
    (gpu(Done(9, "NVIDIA-SMI has failed")), GPU, "GPU", PROBLEM, "nvidia-smi does not answer"),
    (gpu(), GPU | {CUDA: '{"cuda": {"version": "12.4.0"}}'}, "CUDA", PROBLEM, "12.4.0"),
    (gpu(), GPU | {CUDA: None}, "CUDA", PROBLEM, "nor nvcc names one"),
    (gpu(**{"cluster.run": f"found:{json.dumps(ANSWER)}"}), GPU,
     "GPU in MindSpore", PROBLEM, "this host has 1, but MindSpore finds none"),
    (gpu(onnxruntime="found:CPUExecutionProvider"), GPU, "ONNX Runtime", WARNING, "install onnxruntime-gpu"),
]  # fmt: skip


def with_files(machine, files):
    for name, text in files.items():
        path = machine.root / name
        if text is None:
            path.rmdir() if path.is_dir() else path.unlink(missing_ok=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)


def test_a_good_machine_has_no_row_to_complain_about(machine):
    rows = examine(machine)
    assert [row for row in rows if row.verdict != OK or row.advice] == []
    assert len({row.name for row in rows}) == len(rows) > 20


@pytest.mark.parametrize(("changes", "files"), [(WELL_ASCEND, ASCEND), (gpu(), GPU)], ids=["Ascend", "GPU"])
def test_a_good_accelerator_has_none_either(machine, changes, files):
    with_files(machine, files)
    rows = examine(dataclasses.replace(machine, **changes))
    assert [row for row in rows if row.verdict != OK] == []
    assert any("2 devices, driver 25.2.0, firmware 7.7.0" in row.found or "1 NVIDIA A10" in row.found for row in rows)


@pytest.mark.parametrize(
    ("changes", "files", "name", "verdict", "text"),
    SITUATIONS,
    ids=[f"{number}-{row[2].replace(' ', '_')}" for number, row in enumerate(SITUATIONS)],
)
def test_each_situation_is_named_with_what_to_do(machine, changes, files, name, verdict, text):
    with_files(machine, files)
    rows = {row.name: row for row in examine(dataclasses.replace(machine, **changes))}
    assert rows[name].verdict == verdict
    assert text in f"{rows[name].found} -> {rows[name].advice}" and rows[name].advice


def test_device_files_that_this_user_may_not_use_are_named(machine, monkeypatch):
    with_files(machine, ASCEND)
    monkeypatch.setattr(os, "access", lambda path, _: path.name != "davinci1")
    rows = {row.name: row for row in examine(dataclasses.replace(machine, **WELL_ASCEND))}
    assert rows["Ascend rights"].verdict == PROBLEM and "davinci1" in rows["Ascend rights"].found


def test_what_cannot_be_looked_at_is_a_row_too(machine):
    def fails(*_):
        raise RuntimeError("no such thing")

    calls = [field.name for field in dataclasses.fields(Machine) if callable(getattr(machine, field.name))]
    for name in calls:
        rows = examine(dataclasses.replace(machine, **{name: fails}))
        broken = [row for row in rows if "could not be looked at (RuntimeError: no such thing)" in row.found]
        assert broken and len(rows) > 20, name


@pytest.mark.parametrize("text", ["", "\x00", 'found:{"version": 3}\nfound:', "found:[1]", "found:{}", "\ud800"])
@pytest.mark.parametrize("status", [0, 1, -9])
def test_whatever_a_program_answers_there_is_a_row_for_it(machine, text, status):
    with_files(machine, ASCEND | GPU)
    rows = examine(dataclasses.replace(machine, run=lambda *_: Done(status, text)))
    assert [row for row in rows if "could not be looked at" in row.found] == []
    assert {row.name for row in rows if row.verdict == PROBLEM} >= {"MindSpore", "devices", "msrun", "GPU"}


def test_json_holds_every_row_and_problems_decide_the_exit_status(machine, monkeypatch, capsys):
    monkeypatch.setattr(command, "this_machine", lambda: machine)
    command.main(["--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["problems"] == 0 and found["rows"] == [row.to_dict() for row in examine(machine)]
    monkeypatch.setattr(command, "this_machine", lambda: dataclasses.replace(machine, python=(3, 9, 1), open_files=8))
    with pytest.raises(ReportedError, match=r"1 of \d+ are problems: Python; "):
        command.main([])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("problem  Python") and lines[1].lstrip().startswith("-> MindSpore 2.10 has packages")
    assert lines[-1].endswith("rows, 1 warnings, 1 problems")


def test_this_machine_is_looked_at_without_a_traceback():
    here = this_machine()
    rows = examine(dataclasses.replace(here, run=said({})))
    assert [row for row in rows if "could not be looked at" in row.found] == []
    assert {row.name: row for row in rows}["NumPy"].verdict == OK


def test_the_table_of_versions_is_that_of_the_installed_mindspore():
    assert tuple(AscendEnvChecker(None).version) == CANN_VERSIONS
    plugins = (Path(mindspore.__file__).parent / "lib/plugin").glob("libmindspore_gpu.so.*")
    assert {path.name.removeprefix("libmindspore_gpu.so.") for path in plugins} == set(CUDA_VERSIONS)


def test_a_driver_is_measured_by_the_cann_that_is_there(machine):
    with_files(machine, ASCEND | {DRIVER: "Version=25.0.1\n", CANN: "Version=9.0.0\n"})
    rows = examine(dataclasses.replace(machine, **WELL_ASCEND))
    assert [row for row in rows if row.verdict != OK] == []
    with_files(machine, {CANN: "Version=8.3.RC1\n"})
    rows = {row.name: row for row in examine(dataclasses.replace(machine, **WELL_ASCEND))}
    assert rows["CANN"].verdict == OK and rows["CANN"].found.endswith("installation page names 8.5, 9.0, 9.1")
    assert set(CANN_DOCUMENTED) < set(CANN_VERSIONS) and set(DOCUMENTED_CUDA_DRIVERS) == set(CUDA_VERSIONS)


def test_requirements_are_read_as_they_are_written():
    assert dict(requirements())["numpy"] == ">=1.25,<2"
    assert set(dict(requirements())) == set(VERSIONS)
    assert [is_within(version, ">=1.25,<2") for version in ("1.24.9", "1.25", "1.26.4", "2.0.0")] == [
        *(False, True, True, False)
    ]


@pytest.mark.slow
def test_with_numpy_2_the_doctor_says_so_instead_of_ending(tmp_path):
    (tmp_path / "numpy").mkdir()
    (tmp_path / "numpy/__init__.py").write_text("raise ImportError('NumPy 2')")
    (tmp_path / "numpy/version.py").write_text('version = "2.1.0"\n')
    (tmp_path / "numpy-2.1.0.dist-info").mkdir()
    (tmp_path / "numpy-2.1.0.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: numpy\nVersion: 2.1.0\n")
    done = subprocess.run(
        [sys.executable, "-m", "src.doctor"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "problem  NumPy" in done.stdout and "problem  MindSpore" in done.stdout
    assert done.stderr.splitlines()[-1].startswith("error: ")
