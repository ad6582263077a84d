"""All rows, in the order in which they are shown."""

from collections.abc import Callable

from src.doctor import devices, resources, software
from src.doctor.machine import Machine
from src.doctor.row import Row, warning


def examine(machine: Machine) -> list[Row]:
    """Look at everything. What cannot be looked at becomes a row too, never an exception."""
    rows: list[Row] = []

    def add(name: str, look: Callable[[], Row | list[Row]]) -> None:
        try:
            found = look()
        except Exception as error:  # whatever a strange machine answers: the other rows are wanted all the same
            found = warning(
                name,
                f"could not be looked at ({type(error).__name__}: {error})",
                "report this to the project, please",
            )
        rows.extend(found if isinstance(found, list) else [found])

    answer = software.Answer()

    def mindspore() -> Row:
        nonlocal answer
        row, answer = software.ask_mindspore(machine)
        return row

    for name, look in (
        ("Python", software.python_row),
        ("packages", software.packages_row),
        ("rival packages", software.rivals_row),
        ("NumPy", software.numpy_row),
    ):
        add(name, lambda look=look: look(machine))
    add("MindSpore", mindspore)
    add("devices", lambda: devices.accelerator_rows(machine, answer.devices))
    add("ONNX Runtime", lambda: software.onnx_runtime_row(machine, devices.has_gpu(machine)))
    add("msrun", lambda: software.msrun_row(machine, answer))
    for name, look in (
        ("ports", software.port_row),
        ("C++ compiler", software.compiler_row),
        ("C++ kernels", software.kernels_row),
        ("C++ program", software.cpp_program_row),
        ("MindSpore Lite", software.lite_row),
        ("moxing", software.moxing_row),
        ("cores", resources.cores_row),
        ("memory", resources.memory_row),
        ("disk", resources.disk_rows),
        ("shared memory", resources.shm_row),
        ("locale", resources.locale_row),
        ("open files", resources.limits_row),
        ("clock", resources.clock_row),
        ("environment", resources.environment_row),
    ):
        add(name, lambda look=look: look(machine))
    return rows
