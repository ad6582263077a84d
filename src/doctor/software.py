"""Rows about what is installed: Python, its packages, compilers, the programs that are called."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from src.doctor.machine import NOT_FOUND, PROJECT, TIMED_OUT, Machine
from src.doctor.row import Row, ok, problem, warning
from src.launch.settings import USUAL_PORT
from src.model_utils.accelerators import numbers_of

_PYTHONS = ((3, 10), (3, 12))
_SLOW_IMPORT = 20  # seconds
_IMPORT_LIMIT = 300
_RIVALS = {
    "mindspore": ("mindspore-gpu", "mindspore-ascend", "mindspore-cpu", "mindspore-dev"),
    "onnxruntime": ("onnxruntime-gpu",),
}
_HEADERS = {"jpeglib.h": "libjpeg-dev", "png.h": "libpng-dev"}

# Run by another process: an import may end it.
PROBE = """
import json, sys, time
start = time.monotonic()
import mindspore
found = {"version": mindspore.__version__, "place": mindspore.__file__, "seconds": time.monotonic() - start}
try:
    found["build"] = open(mindspore.__path__[0] + "/.commit_id").read().strip()
except OSError:
    pass
found["devices"] = {}
for kind in ("Ascend", "GPU", "CPU"):
    try:
        found["devices"][kind] = mindspore.hal.device_count(kind) if mindspore.hal.is_available(kind) else 0
    except Exception:
        found["devices"][kind] = 0
try:
    import mindspore.parallel.cluster.run
    found["msrun"] = ""
except Exception as error:
    found["msrun"] = f"{type(error).__name__}: {error}"
print("found:" + json.dumps(found))
"""
_ONNX_PROBE = 'import onnxruntime as o; print("found:" + ",".join(o.get_available_providers()))'


def python_row(machine: Machine) -> Row:
    """The interpreter and the system under it."""
    version = ".".join(map(str, machine.python))
    found = f"Python {version}, {machine.executable}, {machine.system} {machine.processor}"
    if not _PYTHONS[0] <= machine.python[:2] <= _PYTHONS[1]:
        return problem("Python", found, "MindSpore 2.10 has packages for Python 3.10 to 3.12: use one of these")
    if machine.system != "Linux":
        return problem("Python", found, "this project runs on Linux (also in a virtual machine, WSL or a container)")
    if machine.processor not in ("x86_64", "aarch64"):
        return problem("Python", found, "MindSpore 2.10 has packages for x86_64 and aarch64 only")
    return ok("Python", found)


def packages_row(machine: Machine) -> Row:
    """What requirements.txt asks for and this environment has."""
    missing, wrong, there = [], [], 0
    for name, bounds in requirements():
        version = machine.version_of(name)
        if version is None and name == "onnxruntime":
            version = machine.version_of("onnxruntime-gpu")
        if version is None:
            missing.append(name)
        elif not is_within(version, bounds):
            wrong.append(f"{name} {version} instead of {bounds}")
        else:
            there += 1
    if missing:
        return problem("packages", f"missing: {', '.join(missing)}", _install(machine, "-r requirements.txt"))
    if wrong:
        return warning("packages", "; ".join(wrong), _install(machine, "-r requirements.txt"))
    return ok("packages", f"all {there} of requirements.txt")


def rivals_row(machine: Machine) -> Row:
    """Packages that put their files into each other's folders."""
    for name, others in _RIVALS.items():
        both = [other for other in others if machine.version_of(other) and machine.version_of(name)]
        if both:
            names = " ".join([name, *both])
            return problem(
                "rival packages",
                f"{' and '.join([name, *both])} are installed together and overwrite each other's files",
                f"{machine.executable} -m pip uninstall {names}, then install the one that you need",
            )
    return ok("rival packages", "none")


def numpy_row(machine: Machine) -> Row:
    """NumPy 1, which MindSpore 2.10 was built against."""
    version = machine.version_of("numpy")
    if version is None:
        return problem("NumPy", "not installed", _install(machine, "'numpy>=1.25,<2'"))
    if numbers_of(version) >= (2,):
        return problem(
            "NumPy",
            f"{version}, but MindSpore 2.10 was built for NumPy 1 and fails with 2",
            _install(machine, "'numpy>=1.25,<2'"),
        )
    return ok("NumPy", version)


@dataclass(frozen=True)
class Answer:
    """What MindSpore's probe says: how many devices of each kind it finds, and why msrun cannot be imported, if so."""

    devices: Mapping[str, int] = field(default_factory=dict)
    msrun: str = "MindSpore cannot be imported"


def ask_mindspore(machine: Machine) -> tuple[Row, Answer]:
    """The row of MindSpore, and what its probe found."""
    name, anew = "MindSpore", _install(machine, "-r requirements.txt")
    done = machine.run([machine.executable, "-c", PROBE], _IMPORT_LIMIT)
    if done.status == TIMED_OUT:
        advice = "put the environment on a local disk, and look whether the machine is overloaded"
        return problem(name, f"its import took more than {_IMPORT_LIMIT} s", advice), Answer()
    try:
        found = json.loads(re.findall(r"^found:(\{.*\})$", done.said, re.MULTILINE)[-1])
        version, seconds = found["version"], float(found["seconds"])
        answer = Answer(dict(found["devices"]), str(found["msrun"]))
    except (IndexError, ValueError, KeyError, TypeError):
        if "No module named 'mindspore'" in done.said:
            return problem(name, f"not installed for {machine.executable}", anew), Answer()
        how = f"killed by signal {-done.status}" if done.status < 0 else _last_line(done.said)
        how = f"{machine.executable} cannot be run" if done.status == NOT_FOUND else how
        return problem(name, f"cannot be imported: {how}", f"install it anew: {anew}"), Answer()
    build = re.search(r"\[sha1\]:(\w+)", str(found.get("build", "")))
    text = f"{version}{f' (build {build[1]})' if build else ''}, imported in {seconds:.1f} s"
    if numbers_of(version)[:2] != (2, 10):
        return problem(name, f"{text}, but this project is written for 2.10", anew), answer
    if seconds > _SLOW_IMPORT:
        return warning(name, text, "every command waits for this: put the environment on a local disk"), answer
    return ok(name, text), answer


def msrun_row(machine: Machine, answer: Answer) -> Row:
    """What starts the ranks of a job: MindSpore's msrun, called as a module, which starts the first `python`."""
    place = Path(machine.executable).parent
    if not machine.which(str(place / "python")):
        advice = "make an environment: bash scripts/quickstart.sh"
        return problem("msrun", f"there is no `python` beside {machine.executable}", advice)
    if answer.msrun:
        advice = f"jobs of several devices need it: {_install(machine, '-r requirements.txt')}"
        return problem("msrun", f"MindSpore's msrun is missing: {answer.msrun}", advice)
    return ok("msrun", f"comes with MindSpore; starts {place}/python")


def port_row(machine: Machine) -> Row:
    """The ports at which ranks meet: any on one host, 8118 between hosts."""
    if not machine.can_listen(0):
        return problem(
            "ports",
            "no port of 127.0.0.1 can be listened at",
            "jobs of several devices need the loopback device: ip link set lo up",
        )
    if not machine.can_listen(USUAL_PORT):
        return warning(
            "ports",
            f"port {USUAL_PORT}, at which several hosts meet, is in use here",
            "on one host another is taken; for several set MASTER_PORT to a free one on all of them",
        )
    return ok("ports", f"{USUAL_PORT} is free, and so are others")


def compiler_row(machine: Machine) -> Row:
    """The C++ compiler of the kernels."""
    asked = machine.environ.get("CXX", "").split()
    names = asked[:1] or ["g++", "clang++", "c++"]
    path = next((found for name in names if (found := machine.which(name))), None)
    if path is None:
        what = f"CXX names {names[0]!r}, which is no program" if asked else "there is none"
        return warning(
            "C++ compiler",
            f"{what}: the C++ kernels cannot be compiled, and the plain network is several times slower",
            "install g++ (apt-get install g++), or name one in CXX",
        )
    said = machine.run([path, "--version"], 20).said.strip()
    return ok("C++ compiler", f"{path}, {said.splitlines()[0] if said else 'which does not tell its version'}")


def kernels_row(machine: Machine) -> Row:
    """Whether training on this CPU uses them."""
    used, reason = machine.kernels()
    if used:
        return ok("C++ kernels", reason)
    return warning("C++ kernels", reason, "training on this CPU is several times slower until that is mended")


def cpp_program_row(machine: Machine) -> Row:
    """What ascend310_infer is built with."""
    missing = [name for name in ("g++", "make", "cmake") if not machine.which(name)]
    folders = ("/usr/include", f"/usr/include/{machine.processor}-linux-gnu", "/usr/local/include")
    missing += [
        package for header, package in _HEADERS.items() if not any(machine.files(folder, header) for folder in folders)
    ]
    if missing:
        return warning(
            "C++ program",
            f"missing to build it: {', '.join(missing)}",
            f"apt-get install {' '.join(missing)}, if you use run_infer_310.sh",
        )
    return ok("C++ program", "its compiler, cmake and libraries are there")


def lite_row(machine: Machine) -> Row:
    """MindSpore Lite, for ascend310_infer, and its converter."""
    home = machine.environ.get("LITE_HOME")
    if not home:
        return ok("MindSpore Lite", "LITE_HOME is not set: run_infer_310.sh on a CPU fetches 2.0.0; for Ascend set it")
    places = [
        place for place in ("", "runtime/", "mindspore_lite/") if machine.files(f"{home}/{place}include/api", "model.h")
    ]
    if not places:
        return problem(
            "MindSpore Lite",
            f"LITE_HOME is {home}, which holds no include/api/model.h",
            "give the folder of MindSpore Lite, unpacked, or unset LITE_HOME",
        )
    converter = machine.files(f"{home}/tools/converter/converter", "converter_lite")
    return ok("MindSpore Lite", f"{home}, {'with' if converter else 'without'} its converter")


def onnx_runtime_row(machine: Machine, has_gpu: bool) -> Row:
    """The providers of ONNX Runtime."""
    done = machine.run([machine.executable, "-c", _ONNX_PROBE], 120)
    found = re.findall(r"^found:(.*)$", done.said, re.MULTILINE)
    if not found:
        return problem(
            "ONNX Runtime", f"cannot be imported: {_last_line(done.said)}", _install(machine, "-r requirements.txt")
        )
    if has_gpu and "CUDAExecutionProvider" not in found[-1]:
        return warning(
            "ONNX Runtime",
            f"{found[-1]}: this host has a GPU, which it cannot use",
            "for eval_onnx.py --device_target GPU install onnxruntime-gpu instead of onnxruntime",
        )
    return ok(
        "ONNX Runtime", f"{machine.version_of('onnxruntime') or machine.version_of('onnxruntime-gpu')}: {found[-1]}"
    )


def moxing_row(machine: Machine) -> Row:
    """ModelArts' copying."""
    on_modelarts = any(name.startswith("MA_") for name in machine.environ)
    if machine.version_of("moxing-framework") or machine.version_of("moxing"):
        return ok("moxing", "there: --enable_modelarts can be used")
    if on_modelarts:
        return warning(
            "moxing", "not there, though this looks like ModelArts (MA_...)", "choose an image of ModelArts that has it"
        )
    return ok("moxing", "not there: only jobs on ModelArts need it")


def requirements(file: Path = PROJECT / "requirements.txt") -> Iterator[tuple[str, str]]:
    """Each name in requirements.txt with its bounds."""
    for line in file.read_text("utf-8").splitlines():
        if found := re.match(r"([A-Za-z][\w.-]*)\s*([<>=!~].*)?$", line.strip()):
            yield found[1], (found[2] or "").strip()


def is_within(version: str, bounds: str) -> bool:
    """Whether `version` keeps to bounds such as `>=2.10,<2.11`. What it cannot read it takes as kept."""
    for bound in filter(None, bounds.split(",")):
        found = re.match(r"\s*(>=|<|==)\s*([\d.]+)", bound)
        if not found:
            continue
        have, want = numbers_of(version), numbers_of(found[2])
        kept = {">=": have >= want, "<": have < want, "==": have == want}[found[1]]
        if not kept:
            return False
    return True


def _install(machine: Machine, what: str) -> str:
    return f"{machine.executable} -m pip install {what}"


def _last_line(text: str) -> str:
    return next((line.strip()[:200] for line in reversed(text.splitlines()) if line.strip()), "it said nothing")
