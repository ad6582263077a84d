"""One read-only configuration from the schema, a YAML file and the flags; nothing is read until `parse` is called.

The last of these that gives a key wins: the schema's default, the network's own YAML file (or the one of
`--config_path`, instead of it), the flag.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from src.schema.aliases import advice
from src.schema.combinations import COMBINATIONS, folder_of_bundled_data, missing_data
from src.schema.options import BY_NAME, DATASETS, INTS, OPTIONS, Value, network_yaml, usual_dataset, usual_image_size
from src.schema.usage import help_text
from src.schema.values import expected, parse_value, show
from src.schema.yaml_file import read_yaml, write_yaml
from src.utils.checkpoint_names import CONFIG_NAME
from src.utils.errors import ReportedError, UsageError

ROOT = Path(__file__).resolve().parents[2]
_FROM_DATASET = ("num_classes", "image_size")
_OF_THE_PLACE = ("device_target", "device_id", "deterministic", "is_distributed", "rank", "group_size")
_PLATFORM = ("init_method", "world_size", "local_rank", "num_gpus")
_GEOMETRY = ("resize", "interpolation", "crop_ratio")
_ARCHITECTURE = ("growth_rate", "block_config", "stem_features", "bn_size", "compression")


RunConfig = dict[str, Value]  # what a checkpoint keeps of the configuration


class Config:
    """The resolved keys as attributes (`config.lr`). Read-only; `replace` makes another one.

    `command` is the command it was parsed for, `ignored` the flags that were given and that it does not use.
    """

    command: str
    ignored: tuple[str, ...]

    def __init__(self, command: str, values: Mapping[str, Value], sources: Mapping[str, str]) -> None:
        ignored = [
            key
            for key, source in sources.items()
            if source == "platform" or (source == "flag" and command not in BY_NAME[key].commands)
        ]
        vars(self).update(values, command=command, ignored=tuple(ignored), _sources=dict(sources))
        for combination in COMBINATIONS[command]:
            if problem := combination(self):
                raise UsageError(problem)

    def source(self, key: str) -> str:
        """Who chose the value: 'flag', 'yaml' (the file of --config_path) or 'default' (all else)."""
        return self._sources.get(BY_NAME[key].name, "default")

    def given(self, key: str) -> Value | None:
        """The value if a flag or --config_path gave it, else None."""
        return getattr(self, key) if self.source(key) != "default" else None

    def kind_of_data(self, run_config: object) -> str:
        """The data set: what was given, else what `run_config`, the dictionary of an earlier run, of which nothing is
        trusted, says, else the network's usual one.
        """
        known = run_config.get("dataset") if isinstance(run_config, Mapping) else None
        return known if self.source("dataset") == "default" and known in DATASETS else self.dataset

    def data_set(self, key: str, run_config: object) -> tuple[str, str]:
        """`kind_of_data`, and the path under `key` ('train_data_dir', 'eval_data_dir'): what was given, else what
        `run_config` says of this kind.

        Raises UsageError when the path is missing, or would not be read.
        """
        dataset, path = self.kind_of_data(run_config), getattr(self, key)
        run_config = run_config if isinstance(run_config, Mapping) else {}
        if not path and run_config.get("dataset") == dataset and isinstance(run_config.get(key), str):
            path = run_config[key]
        if problem := missing_data(key, path, dataset) or folder_of_bundled_data(key, path, dataset):
            raise UsageError(problem)
        return dataset, path

    def as_dict(self) -> dict[str, Value]:
        """Every key and its value, in the schema's order."""
        return {option.name: getattr(self, option.name) for option in OPTIONS}

    def replace(self, **changes: object) -> "Config":
        """A copy with some values changed, checked as if given by flag; `source` keeps saying who chose before."""
        values = self.as_dict()
        for key, value in changes.items():
            if not isinstance(value, str | int | float | tuple | list | Path):
                raise TypeError(f"{key} cannot become {value!r}")
            text = [str(item) for item in value] if BY_NAME[key].type == INTS else str(value)
            values[key] = parse_value(BY_NAME[key], text, key)
        return Config(self.command, values, self._sources)

    def on_top_of(self, run_config: object, where: str) -> "Config":
        """A copy in which every key that no flag and no --config_path gave is as in `run_config`, the dictionary of an
        earlier run's checkpoint `where`, of which nothing is trusted. Where to run is not taken from it.

        Raises ReportedError for a key or a value that the schema does not know.
        """
        if not isinstance(run_config, Mapping):
            raise ReportedError(f"{where} carries no recipe that can be read; use a checkpoint of train.py")
        values = self.as_dict()
        for key, value in run_config.items():
            option = BY_NAME.get(key)
            if option is None or not option.saved:
                raise ReportedError(f"{where} carries the unknown key {show(str(key))}; update the code")
            if self.source(key) == "default" and key not in _OF_THE_PLACE:
                text = [str(item) for item in value] if isinstance(value, list | tuple) else str(value)
                try:
                    values[key] = parse_value(option, text, f"{where}: {key}")
                except UsageError as error:
                    raise ReportedError(str(error)) from error
        return Config(self.command, values, self._sources)

    def given_architecture(self) -> dict[str, Value]:
        """The keys of the architecture that a flag or --config_path gave, 0 and empty ("as it is") left out."""
        keys = ("net", "num_classes", *_ARCHITECTURE, "transition_pool", "stem_pool", "input_channels")
        return {key: self.given(key) for key in keys if self.given(key)}

    def geometry(self) -> dict[str, Value]:
        """How a picture becomes the input of a network that no checkpoint describes, for `default_preprocessing`."""
        return {"image_size": self._size or usual_image_size(self.net)} | {
            key: getattr(self, key) for key in (*_GEOMETRY, "input_channels")
        }

    def given_geometry(self) -> dict[str, Value]:
        """The same keys as far as a flag or --config_path gave them, for `Preprocessing.as_asked`."""
        size = self._size if self.given("image_size") or self.given("eval_image_size") else 0
        given = {"image_size": size, **{key: self.given(key) for key in _GEOMETRY}}
        return {key: value for key, value in given.items() if value}

    @property
    def _size(self) -> int:
        """The input's size: behind training the one that is for evaluations."""
        return (self.eval_image_size if self.command != "train" else 0) or self.image_size

    def values_of(self, group: str) -> dict[str, Value]:
        """The keys of one group of the schema and their values."""
        return {option.name: getattr(self, option.name) for option in OPTIONS if option.group == group}

    def run_config(self) -> RunConfig:
        """All keys that do not belong to one call only."""
        return {option.name: getattr(self, option.name) for option in OPTIONS if option.saved}

    def to_yaml(self, path: str | Path) -> None:
        """Write a file that gives the same values back when it is passed as `--config_path`.

        Leaves out config_path, resume and debug, which belong to one call. Raises ReportedError.
        """
        write_yaml(path, self.as_dict(), f"Resolved configuration; use it again: {self.command}.py --config_path FILE")

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a Config is read-only: use replace({name}={value!r})")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"a Config is read-only: {name} cannot be deleted")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Config) and vars(self) == vars(other)

    __hash__ = None

    def __repr__(self) -> str:
        return f"Config({self.command!r}, {self.as_dict()})"


def parse(command: str, argv: Sequence[str], description: str = "") -> Config:
    """The configuration of `command`, one of COMMANDS, for the command line `argv`, without the program's name.

    Raises UsageError for anything that cannot be meant. `-h` or `--help` prints the keys, then raises SystemExit(0).
    """
    if any(argument in ("-h", "--help") for argument in argv):
        print(_help(command, argv, description))
        raise SystemExit(0)
    own, platform = _without_platform_flags(argv)
    flags = read_flags(own, command)
    config_path = flags.get("config_path")
    base, from_file = _below_flags(flags.get("net"), config_path)
    values = base | flags
    if platform and not values["enable_modelarts"]:
        read_flags(argv, command)  # it raises: elsewhere they are unknown
    sources = dict.fromkeys(from_file if config_path else (), "yaml") | dict.fromkeys(flags, "flag")
    sources |= dict.fromkeys(platform, "platform")
    if values["dataset"] != from_file.get("dataset", values["dataset"]):  # these in the file are another data set's
        for key in _FROM_DATASET:
            if key not in flags:
                values[key] = 0
                sources.pop(key, None)
    return Config(command, values, sources)


def save_config(config: Config, folder: Path) -> None:
    """Write the resolved configuration as config.yaml, or beside it as config_resumed_N.yaml when a flag changed it."""
    path = folder / CONFIG_NAME
    number = 0
    while path.exists():
        number += 1
        path = folder / f"config_resumed_{number}.yaml"
    config.to_yaml(path)
    try:
        if any(path.read_bytes() == other.read_bytes() for other in folder.glob("config*.yaml") if other != path):
            path.unlink()
    except OSError as error:
        raise ReportedError(f"{error.filename} cannot be read: {error.strerror}; try again when it can be") from error


def architecture_overrides(config: Config) -> dict[str, Value]:
    """The fields of the named network's architecture that the configuration replaces, for `architecture()`."""
    chosen = {key: getattr(config, key) for key in _ARCHITECTURE if getattr(config, key)}
    always = {key: getattr(config, key) for key in ("drop_rate", "transition_pool", "stem_pool", "input_channels")}
    return chosen | always


def _without_platform_flags(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """`argv` without what ModelArts adds to each command line about the hosts of a job, and the names of that.

    The ranks come from msrun or a rank table; --rank, here a host's number, is one of them beside another one only.
    """
    own, platform, words = [], [], list(argv)
    while words:
        word = words.pop(0)
        name, equals, _ = word.removeprefix("--").partition("=")
        if not word.startswith("--") or name not in (*_PLATFORM, "rank"):
            own.append(word)
            continue
        platform.append(name)
        if not equals and words and not words[0].startswith("--"):
            words.pop(0)
    return (own, platform) if set(platform) & set(_PLATFORM) else (list(argv), [])


def read_flags(argv: Sequence[str], command: str = "") -> dict[str, Value]:
    """The typed values of `--key value`, `--key=value` and, for true or false, `--key`; of a repeated key the last.

    With a `command`, a key that asks it for what it does not do is a UsageError. Names are exact. No key takes an
    argument that begins with two dashes, except after `=`.
    """
    flags: dict[str, Value] = {}
    arguments = list(argv)
    while arguments:
        argument = arguments.pop(0)
        key, equals, text = argument.removeprefix("--").partition("=")
        key = {"_config_path": "config_path"}.get(key, key)  # as the model zoo's scripts call it
        has_value = bool(equals)
        if not has_value and arguments and not arguments[0].startswith("--"):
            text, has_value = arguments.pop(0), True
        value = f" with value {show(text)}" if has_value else ""
        if not argument.startswith("-"):
            remedy = f"did you mean --{key}?" if key in BY_NAME else "--help lists the flags"
            raise UsageError(f"found {show(argument)} where a flag was expected, such as --lr 0.1; {remedy}")
        if not argument.startswith("--") or key not in BY_NAME:
            name = key.lstrip("-")
            remedy = f"did you mean --{name}?" if name in BY_NAME else advice(name, command)
            raise UsageError(f"found unknown flag {show(argument.partition('=')[0])}{value}; {remedy}")
        option = BY_NAME[key]
        if command and option.asks and command not in option.commands:
            raise UsageError(f"found --{key}{value}, which {command}.py does not use; {advice(key, command)}")
        if not has_value:
            if option.type is not bool:
                raise UsageError(f"--{key}: found no value, expected {expected(option)}; write --{key}=VALUE")
            text = "true"
        flags[key] = parse_value(option, text, f"--{key}")
    return flags


def _below_flags(net: str | None, config_path: Value | None) -> tuple[dict[str, Value], dict[str, Value]]:
    """All values before the flags, and those of them that a YAML file gave; `net` is the flag's."""
    usual_net = BY_NAME["net"].default
    from_file = read_yaml(config_path or ROOT / network_yaml(net or usual_net))
    schema = {option.name: option.default for option in OPTIONS}
    schema["dataset"] = usual_dataset(net or from_file.get("net", usual_net))
    return schema | from_file, from_file


def _help(command: str, argv: Sequence[str], description: str) -> str:
    """The help for the network that `argv` names, however wrong the rest of it is."""
    try:
        flags = read_flags([argument for argument in argv if argument not in ("-h", "--help")])
    except UsageError:
        flags = {}
    net = flags.get("net", BY_NAME["net"].default)
    return help_text(command, description, _below_flags(net, None)[0] | {"net": net}, network_yaml(net))
