"""The schema itself, and the two YAML files that rest on it."""

import yaml

from src.model_utils.config import ROOT, Config
from src.schema.combinations import COMBINATIONS
from src.schema.options import BY_NAME, COMMANDS, INTS, NETWORKS, OPTIONS, network_yaml, usual_dataset
from src.schema.values import parse_value
from src.schema.yaml_file import read_yaml

SEED_FLAGS = """train_data_dir num_classes image_size per_batch_size train_pretrained lr_scheduler lr lr_epochs lr_gamma
eta_min T_max max_epoch warmup_epochs weight_decay momentum label_smooth label_smooth_factor log_interval save_ckpt_path
ckpt_interval is_save_on_master is_distributed rank group_size net dataset device_target eval_data_dir ckpt_files
ckpt_file file_name file_format batch_size device_id"""
YAMLS = {net: ROOT / network_yaml(net) for net in ("densenet100", "densenet121")}


def test_no_key_twice():
    assert len(BY_NAME) == len(OPTIONS)


def test_every_flag_of_the_original_model_is_a_key():
    assert set(SEED_FLAGS.split()) <= set(BY_NAME)


def test_no_key_hides_an_attribute_of_the_configuration():
    assert not set(BY_NAME) & ({name for name in dir(Config) if not name.startswith("__")} | {"command", "ignored"})


def test_defaults_are_valid():
    for option in OPTIONS:
        text = [str(item) for item in option.default] if option.type == INTS else str(option.default)
        value = parse_value(option, text, option.name)
        assert value == option.default
        assert type(value) is type(option.default)


def test_every_option_belongs_to_a_known_command_and_says_what_it_is():
    for option in OPTIONS:
        assert option.help
        assert set(option.commands) <= set(COMMANDS)
    assert set(COMBINATIONS) == set(COMMANDS)


def test_groups_are_contiguous_so_that_each_heading_appears_once():
    groups = [option.group for option in OPTIONS]
    assert groups == sorted(groups, key=list(dict.fromkeys(groups)).index)


def test_networks_are_those_that_can_be_built():
    from src.network import densenet

    assert densenet.NETWORKS == NETWORKS


def test_yaml_files_mean_the_same_to_any_yaml_reader():
    for path in YAMLS.values():
        ours = {key: list(value) if isinstance(value, tuple) else value for key, value in read_yaml(path).items()}
        assert ours == yaml.safe_load(path.read_text(encoding="utf-8"))


def test_yaml_files_name_their_network_and_its_data_set():
    for net, path in YAMLS.items():
        values = read_yaml(path)
        assert (values["net"], values["dataset"]) == (net, usual_dataset(net))


def test_yaml_files_hold_the_same_keys_in_the_schemas_order():
    order = list(BY_NAME)
    keys = [list(read_yaml(path)) for path in YAMLS.values()]
    assert keys[0] == keys[1] == sorted(keys[0], key=order.index)


def test_recipes():
    small, large = (read_yaml(path) for path in YAMLS.values())
    recipe = ("num_classes", "image_size", "per_batch_size", "max_epoch", "lr_scheduler", "lr_epochs", "lr", "lr_gamma")
    assert [small[key] for key in recipe] == [10, 32, 64, 300, "exponential", (150, 225), 0.1, 0.1]
    assert [large[key] for key in recipe] == [1000, 224, 32, 120, "cosine_annealing", (30, 60, 90), 0.1, 0.1]
    assert small["weight_decay"] == large["weight_decay"] == 1e-4
    assert (small["decay_norm_and_bias"], large["decay_norm_and_bias"]) == (True, False)


def test_the_choices_are_those_of_the_code_that_acts_on_them():
    from src.datasets.preprocessing import AUGMENTATIONS
    from src.deploy.export import SUFFIXES
    from src.deploy.manifest import FILE_FORMATS

    assert BY_NAME["augmentation"].choices == AUGMENTATIONS
    assert BY_NAME["file_format"].choices == FILE_FORMATS == tuple(SUFFIXES)
