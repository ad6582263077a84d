"""What an exported model needs to be used without its checkpoint: a JSON text beside it, and inside some files."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from src.datasets.class_names import is_list_of_names
from src.datasets.layouts import DATASETS
from src.datasets.preprocessing import Preprocessing
from src.datasets.reading import UNCERTAIN, Reading, reading_as_before
from src.network.architecture import Architecture
from src.utils.calibration import is_temperature
from src.utils.errors import ReportedError
from src.utils.files import is_file, sha256_of, write_text_atomically
from src.utils.outside import read_outside
from src.utils.shown import printable

FORMAT_VERSION = 1
FILE_FORMATS = ("AIR", "MINDIR", "ONNX", "ENGINE")
PRECISIONS = ("float32", "float16", "int8")
INPUT_NAME, OUTPUT_NAME = "images", "logits"
PICTURES_NAME, PROBABILITIES_NAME = "pictures", "probabilities"  # of a model that includes its preprocessing
MAX_BYTES = 2**24  # of 100,000 class names

# The same for every model; written for whoever feeds the model without this project's code.
_INTERFACE = {
    "input_name": INPUT_NAME,
    "output_name": OUTPUT_NAME,
    "layout": "NCHW",
    "dtype": "float32",
}
_PICTURES = {
    "includes_preprocessing": True,
    "input_name": PICTURES_NAME,
    "output_name": PROBABILITIES_NAME,
    "layout": "NHWC",
    "dtype": "uint8",
    "input": "decoded pictures, red first, of any height and width, turned as their EXIF orientation says, laid over "
    "white where they are transparent; the model resizes, cuts and normalises them as `preprocessing` says",
}
_ORDERS = {3: "RGB", 1: "grey"}


@dataclass(frozen=True)
class Manifest:
    """Describes one model.

    batch_size 0 takes any number of images. `precision` is of the computation: input and output are float32.
    `mindir_version` is None for other formats. `temperature`: what the model's logits are divided by inside it, see
    `src.utils.calibration`. `activation` makes probabilities of the logits: softmax, or sigmoid where a picture may be
    of several classes; `uncertain` is what an uncertain label counted as in training. `verified` holds what the export
    measured. `includes_preprocessing`: the model takes decoded pictures and gives probabilities; such a description is
    written for others, and not read here.
    """

    file_format: str
    precision: str
    batch_size: int
    dataset: str
    architecture: Architecture
    preprocessing: Preprocessing
    class_names: tuple[str, ...]
    mindir_version: int | None = None
    temperature: float = 1.0
    activation: str = "softmax"
    verified: Mapping[str, object] = field(default_factory=dict)
    includes_preprocessing: bool = False
    uncertain: str = "ignore"

    def to_dict(self) -> dict:
        """As plain values that survive JSON."""
        version = {} if self.mindir_version is None else {"mindir_version": self.mindir_version}
        return {
            "format": FORMAT_VERSION,
            "file_format": self.file_format,
            **version,
            "precision": self.precision,
            "batch_size": self.batch_size,
            **_INTERFACE,
            "channel_order": _ORDERS[self.preprocessing.input_channels],
            "input": self.preprocessing.in_words(),
            "activation": self.activation,
            "dataset": self.dataset,
            "preprocessing": self.preprocessing.to_dict(),
            "class_names": list(self.class_names),
            **({} if self.temperature == 1 else {"temperature": self.temperature}),
            **({} if self.uncertain == "ignore" else {"uncertain": self.uncertain}),
            "architecture": self.architecture.to_dict(),
            "verified": dict(self.verified),
            **(_PICTURES if self.includes_preprocessing else {}),
        }

    @property
    def task(self) -> str:
        """`single` or `multilabel`, as of the checkpoint."""
        return "multilabel" if self.activation == "sigmoid" else "single"

    def reading(self, image_root: str | None = None, uncertain: str | None = None) -> Reading:
        """How a data set is read for this model: as in training, but for what is given."""
        return reading_as_before({"uncertain": self.uncertain}, image_root, uncertain)

    @classmethod
    def from_text(cls, text: str | bytes, where: str) -> "Manifest":
        """Read the JSON of `to_dict`, found at `where`. Raises ReportedError for whatever is not exactly that."""
        return cls._from_dict(_parse(text, where), where)

    @classmethod
    def _from_dict(cls, values: Mapping[str, object], where: str) -> "Manifest":
        if values.get("includes_preprocessing"):
            raise ReportedError(
                f"{where}: the model includes its preprocessing, for programs that have none; for the commands of this "
                "project export it without --include_preprocessing"
            )
        for name, accepts, expected in _CHECKS:
            if not accepts(values.get(name)):
                raise ReportedError(
                    f"{where}: {name} is {values.get(name)!r:.60}, expected {expected}; export the model again"
                )
        architecture = Architecture.from_dict(values["architecture"])
        preprocessing = Preprocessing.from_dict(values["preprocessing"])
        if preprocessing.input_channels != architecture.input_channels:
            raise ReportedError(
                f"{where} describes a network of {architecture.input_channels} channels and an input of "
                f"{preprocessing.input_channels}; export the model again"
            )
        if values.get("channel_order") != _ORDERS[preprocessing.input_channels]:
            raise ReportedError(
                f"{where}: channel_order is {values.get('channel_order')!r:.60}, expected "
                f"{_ORDERS[preprocessing.input_channels]!r}; export the model again"
            )
        if len(values["class_names"]) != architecture.num_classes:
            raise ReportedError(
                f"{where} carries {len(values['class_names'])} class_names for {architecture.num_classes} classes; "
                "export the model again"
            )
        return cls(
            values["file_format"],
            values["precision"],
            values["batch_size"],
            values["dataset"],
            architecture,
            preprocessing,
            tuple(values["class_names"]),
            values.get("mindir_version"),
            float(values.get("temperature") or 1.0),
            values.get("activation") or "softmax",
            values["verified"],
            uncertain=values.get("uncertain") or "ignore",
        )


_CHECKS = (
    ("file_format", lambda v: v in FILE_FORMATS, f"one of {', '.join(FILE_FORMATS)}"),
    ("mindir_version", lambda v: v is None or type(v) is int, "an integer"),
    ("temperature", lambda v: v is None or is_temperature(v), "a positive number"),
    ("precision", lambda v: v in PRECISIONS, f"one of {', '.join(PRECISIONS)}"),
    ("batch_size", lambda v: type(v) is int and v >= 0, "an integer from 0"),
    *((name, lambda v, fixed=fixed: v == fixed, repr(fixed)) for name, fixed in _INTERFACE.items()),
    ("input", lambda v: isinstance(v, str), "a sentence"),
    ("dataset", lambda v: v in DATASETS, f"one of {', '.join(DATASETS)}"),
    ("class_names", is_list_of_names, "a list of names"),
    ("activation", lambda v: v in (None, "softmax", "sigmoid"), "softmax or sigmoid"),
    ("uncertain", lambda v: v is None or (isinstance(v, str) and v in UNCERTAIN), f"one of {', '.join(UNCERTAIN)}"),
    ("verified", lambda v: isinstance(v, dict), "a mapping"),
)


def manifest_path(model: Path) -> Path:
    """`densenet121.mindir.json` for `densenet121.mindir`."""
    return model.with_name(model.name + ".json")


def write_manifest(manifest: Manifest, model: Path, made: Path | None = None) -> None:
    """Describe the file `model`, which is still called `made` if that is given. Raises ReportedError if it cannot."""
    values = {"file": printable(model.name), "sha256": sha256_of(made or model), **manifest.to_dict()}
    write_text_atomically(manifest_path(model), json.dumps(values, indent=2, ensure_ascii=False) + "\n")


def has_manifest(model: Path) -> bool:
    """Whether beside `model`, which need not be there, lies what `write_manifest` wrote for that name."""
    path = manifest_path(model)
    try:
        return is_file(path) and _parse(_read(path), str(path)).get("file") == printable(model.name)
    except (ReportedError, OSError):
        return False


def read_manifest(model: Path) -> Manifest:
    """The description beside `model`. Raises ReportedError when it is missing, ill-formed or of another file."""
    path = manifest_path(model)
    for file in (model, path):
        if not is_file(file):
            raise ReportedError(f"there is no file {file}; export the model with export.py, which writes both")
    try:
        text = _read(path)
        digest = sha256_of(model)
    except OSError as error:
        raise ReportedError(f"{error.filename} cannot be read: {error.strerror}; check its permissions") from error
    values = _parse(text, str(path))
    manifest = Manifest._from_dict(values, str(path))
    if values.get("sha256") != digest:
        raise ReportedError(
            f"{model} is not the file that {path.name} describes: its sha256 is {digest}; "
            "it is damaged or was replaced, export it again"
        )
    return manifest


def read_description(path: Path) -> Manifest:
    """The description in the file `path`; the model itself need not be here. Raises ReportedError."""
    try:
        text = read_outside(path, MAX_BYTES)
    except OSError as error:
        raise ReportedError(f"{path} cannot be read: {error.strerror or error}; give a model's .json") from error
    return Manifest.from_text(text, str(path))


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        text = file.read(MAX_BYTES + 1)
    if len(text) > MAX_BYTES:
        raise ReportedError(f"{path} has more than {MAX_BYTES} bytes, which no description has; export the model again")
    return text


def _parse(text: str | bytes, where: str) -> dict:
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ReportedError(f"{where} is not JSON: {error}; export the model again") from error
    if not isinstance(values, dict) or values.get("format") != FORMAT_VERSION:
        raise ReportedError(
            f"{where} is no description of format {FORMAT_VERSION} as export.py writes; export the model again"
        )
    return values
