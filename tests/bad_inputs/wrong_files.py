"""What is in the folder {b} of the rows: wrong files made from right ones."""

import json
import shutil
from pathlib import Path

import mindspore as ms
import numpy as np
import onnx
from commands import write_cifar, write_pictures

import export
from src.deploy.onnx_file import CHECKSUM_KEY
from src.deploy.onnx_file import METADATA_KEY as MANIFEST_KEY
from src.utils.checkpoint import METADATA_KEY, save_checkpoint


def write_bench(b: Path, trained_run: Path) -> None:
    """Fill it; a few of the files are right ones."""
    (b / "a_file").write_text("precious")
    (b / "empty").mkdir()
    (b / "dangling").symlink_to("nowhere")
    shutil.copytree(trained_run, b / "run")
    _write_yaml(b / "yaml")
    _write_data(b)
    _write_checkpoints(b)
    _write_models(b)


def _write_yaml(folder: Path) -> None:
    folder.mkdir()
    for name, text in {
        "syntax": "lr: 0.1\nmomentum: [1, 2\nseed: 1\n",
        "tag": "lr: !!python/object/apply:os.system ['touch hacked']\n",
        "twice": "lr: 0.1\nlr: 0.2\n",
        "unknown": "momentun: 0.9\n",
        "type": "max_epoch: ten\n",
        "nothing": "lr:\n",
        "list": "- lr\n- momentum\n",
        # as ten nested aliases: four to the tenth power of x
        "bomb": "a: &a [x, x, x, x]\n"
        + "".join(f"{c}: &{c} [*{p}, *{p}, *{p}, *{p}]\n" for p, c in zip("abcdefghij", "bcdefghijk", strict=True)),
        "empty": "",
    }.items():
        (folder / f"{name}.yaml").write_text(text)


def _write_data(b: Path) -> None:
    for name in ("good", "cut", "text"):
        write_pictures(b / name, ("cat", "dog"), each=4)
    write_pictures(b / "bird", ("bird", "cat"), each=1)
    (b / "no_pictures" / "cat").mkdir(parents=True)
    for name in ("cat", "dog"):  # the same picture twice cannot be on both sides
        (b / "one_picture" / name).mkdir(parents=True)
        for copy in ("a", "b"):
            shutil.copy(b / "good" / name / "0.jpg", b / "one_picture" / name / f"{copy}.jpg")
    write_pictures(b / "lonely", ("cat", "dog"), each=4)
    write_pictures(b / "lonely", ("owl",), each=1)
    shutil.copytree(b / "good", b / "dangling_picture")
    (b / "dangling_picture" / "dog" / "x.jpg").symlink_to("nowhere")
    (b / "cut" / "dog" / "1.jpg").write_bytes((b / "good" / "dog" / "1.jpg").read_bytes()[:400])
    (b / "text" / "dog" / "1.jpg").write_text("not a picture")
    for name in ("cat", "dog"):
        (b / "no_jpegs" / name).mkdir(parents=True)
        (b / "no_jpegs" / name / "0.jpg").write_text("not a picture")
    (b / "shards").mkdir()
    (b / "shards" / "index.npz").write_bytes(b"PK\x03\x04" + bytes(100))
    write_cifar(b / "cifar" / "data_batch_1.bin", 8)
    write_cifar(b / "cifar_label" / "data_batch_1.bin", 8, label=10)
    (b / "cifar_cut").mkdir()
    (b / "cifar_cut" / "data_batch_1.bin").write_bytes((b / "cifar" / "data_batch_1.bin").read_bytes()[:15000])
    (b / "cifar_cut" / "test_batch.bin").write_bytes(b"")
    for name, line in {
        "word": "dog/0.jpg",
        "negative": "dog/0.jpg -1",
        "missing": "dog/17.jpg 1",
        "seven": "dog/0.jpg 7",
        "two": "dog/0.jpg 1",
    }.items():
        (b / "good" / f"{name}.txt").write_text(f"cat/0.jpg 0\n{line}\n")
    (b / "good" / "empty.txt").write_text("\n")
    for name, text in {
        "headless": "cat/0.jpg,cat\ndog/0.jpg,dog\n",
        "missing": "image,label\ncat/0.jpg,cat\ncat/17.jpg,cat\n",
        "nan": "image,cat,dog\ncat/0.jpg,nan,0\n",
        "empty_label": "image,label\ncat/0.jpg,\n",
        "fields": "image,label\ncat/0.jpg,cat\ndog/0.jpg\n",
        "quote": 'image,label\ncat/0.jpg,cat\ndog/0.jpg,"dog\n',
        "only_header": "image,label\n",
        "all_yes": "image,cat,dog\ncat/0.jpg,1,1\ndog/0.jpg,1,1\n",
        "one_group": "image,label,group\n" + "".join(f"{of}/{i}.jpg,{of},7\n" for of in ("cat", "dog") for i in (0, 1)),
        "one_class": "image,label\ncat/0.jpg,cat\ncat/1.jpg,cat\n",
        "single": "image,label\ncat/0.jpg,cat\ndog/1.jpg,dog\n",
        "bird": "image,label\ncat/0.jpg,cat\ndog/1.jpg,bird\n",
    }.items():
        (b / "good" / f"{name}.csv").write_text(text)
    (b / "good" / "latin1.csv").write_bytes("image,label\ncat/0.jpg,Kätzchen\n".encode("latin-1"))
    (b / "good" / "few.txt").write_text("0 1\n1 2\n")
    (b / "good" / "negative_weight.txt").write_text("0 -1\n")


def _write_checkpoints(b: Path) -> None:
    """From the good one of the run: damaged bytes, and well-formed files whose metadata lie."""
    folder = b / "ckpt"
    folder.mkdir()
    good = b / "run" / "best.ckpt"
    data = good.read_bytes()
    flipped = bytearray(data)
    flipped[len(data) // 2] ^= 1
    for name, damaged in {
        "empty": b"",
        "noise": np.random.default_rng(0).bytes(3000),
        "cut_1": data[:1],
        "cut_100": data[:100],
        "cut_half": data[: len(data) // 2],
        "cut_crc": data[:-17],
        "cut_byte": data[:-1],
        "flipped": bytes(flipped),
    }.items():
        (folder / f"{name}.ckpt").write_bytes(damaged)
    loaded = ms.load_checkpoint(str(good))
    metadata = json.loads(loaded.pop(METADATA_KEY))
    arch, prep, recipe, progress = (metadata[k] for k in ("architecture", "preprocessing", "recipe", "progress"))
    huge = {"growth_rate": 512, "bn_size": 64, "block_config": [256] * 8}
    row = progress["history"][0]
    no_data = recipe | {"eval_data_dir": ""}
    for name, changes in {
        "format": {"format": 2},
        "architecture_text": {"architecture": "densenet121"},
        "growth_text": {"architecture": arch | {"growth_rate": "4"}},
        "growth_huge": {"architecture": arch | {"growth_rate": 10**9}},
        "all_memory": {"architecture": arch | huge},
        "growth": {"architecture": arch | {"growth_rate": 5}},
        "preprocessing": {"preprocessing": prep | {"std": [0, 0, 0]}},
        "names_text": {"class_names": "0123456789"},
        "names_none": {"class_names": []},
        "names_odd": {"class_names": ["\ud800"] * 10},
        "names_many": {"class_names": [str(i) for i in range(12)]},
        "recipe_dataset": {"recipe": recipe | {"dataset": "secret", "eval_data_dir": "x"}},
        "recipe_key": {"recipe": recipe | {"secret": 1}},
        "recipe_value": {"recipe": recipe | {"momentum": 2}},
        "recipe_list": {"recipe": [1]},
        "progress_text": {"progress": "epoch 3"},
        "task": {"task": "both"},
        "task_list": {"task": ["single"]},
        "split_text": {"val_split": "0.2"},
        "split_share": {"val_split": {"share": 2, "seed": 1, "held_out": "AAAAAAAAAAA="}},
        "split_none": {"val_split": {"share": 0.2, "seed": 1, "held_out": "AAAAAAAAAAA="}, "recipe": no_data},
        "progress_epoch": {"progress": progress | {"epoch": -1}},
        "progress_row": {"progress": progress | {"history": [row | {"epoch": "one"}]}},
    }.items():
        save_checkpoint(folder / f"{name}.ckpt", _parameters(loaded), metadata | changes)
    without = {key: value for key, value in metadata.items() if key != "preprocessing"}
    save_checkpoint(folder / "preprocessing_none.ckpt", _parameters(loaded), without)
    not_finite = loaded | {"head.fc.bias": ms.Tensor(np.full(10, np.nan, np.float32))}
    save_checkpoint(folder / "not_finite.ckpt", _parameters(not_finite), metadata)
    huge_bias = loaded | {"head.fc.bias": ms.Tensor(np.full(10, 1e10, np.float32))}  # beyond float16
    save_checkpoint(folder / "huge.ckpt", _parameters(huge_bias), metadata)
    save_checkpoint(folder / "zoo.ckpt", _parameters(loaded), None)
    save_checkpoint(folder / "scalar_head.ckpt", [ms.Parameter(ms.Tensor(1.0), name="head.fc.weight")], None)
    other = ms.Parameter(ms.Tensor(np.ones(3, np.float32)), name="other.weight")
    ms.save_checkpoint([{"name": other.name, "data": other}], str(folder / "foreign.ckpt"))
    entry = {METADATA_KEY: "{'format': 1}"}
    ms.save_checkpoint(
        [{"name": other.name, "data": other}], str(folder / "not_json.ckpt"), append_dict=entry, crc_check=True
    )
    heads = {n: ms.Tensor(v.asnumpy()[:2]) if n.startswith("head.fc") else v for n, v in loaded.items()}
    cats = {"class_names": ["cat", "dog"], "architecture": arch | {"num_classes": 2}}
    save_checkpoint(b / "cats.ckpt", _parameters(heads), metadata | cats)
    shutil.copytree(b / "run", b / "busy")
    (b / "busy" / "0-3_1.ckpt").write_bytes(bytes(flipped))


def _parameters(arrays: dict[str, ms.Tensor]) -> list[ms.Parameter]:
    return [ms.Parameter(ms.Tensor(value.asnumpy()), name=name) for name, value in arrays.items()]


def _write_models(b: Path) -> None:
    """From one good export: damaged bytes, descriptions that lie, and graphs that cannot be computed."""
    folder = b / "models"
    folder.mkdir()
    argv = ["--ckpt_file", str(b / "run" / "best.ckpt"), "--file_format", "ONNX", "--file_name", str(folder / "good")]
    data = export.main(argv).read_bytes()
    for name, damaged in {
        "empty": b"",
        "noise": np.random.default_rng(0).bytes(3000),
        "cut_half": data[: len(data) // 2],
        "cut_byte": data[:-1],
    }.items():
        (folder / f"{name}.onnx").write_bytes(damaged)
    (folder / "taken.mindir").write_text("precious")
    (folder / "described.onnx.json").write_text("precious")
    (folder / "dangling.onnx").symlink_to("nowhere")

    def save(name: str, change) -> None:
        model = onnx.load_from_string(data)
        change(model)
        properties = {entry.key: entry.value for entry in model.metadata_props}
        if name != "changed":  # else the checksum alone would refuse it; older files have none
            properties.pop(CHECKSUM_KEY, None)
        onnx.helper.set_model_props(model, properties)
        onnx.save(model, folder / f"{name}.onnx")

    values = json.loads(onnx.load_from_string(data).metadata_props[0].value)
    arch, prep = values["architecture"], values["preprocessing"]
    twelve = [str(i) for i in range(12)]
    for name, changes in {
        "format": {"format": 2},
        "architecture": {"architecture": "densenet121"},
        "mean": {"preprocessing": prep | {"mean": [0.5, 0.5]}},
        "order": {"channel_order": "BGR"},
        "size": {"preprocessing": prep | {"image_size": 16}},
        "names_many": {"class_names": twelve},
        "names_odd": {"class_names": ["\ud800"] * 10},
        "twelve": {"class_names": twelve, "architecture": arch | {"num_classes": 12}},
    }.items():
        text = json.dumps(values | changes)
        save(name, lambda model, text=text: onnx.helper.set_model_props(model, {MANIFEST_KEY: text}))
    save("not_json", lambda model: onnx.helper.set_model_props(model, {MANIFEST_KEY: "{"}))
    save("undescribed", lambda model: model.ClearField("metadata_props"))
    save("changed", lambda model: setattr(model.graph.node[-1], "name", "renamed"))
    save("opset", lambda model: setattr(model.opset_import[0], "version", 99))
    save("operator", lambda model: setattr(model.graph.node[0], "op_type", "Convolve"))
    save("batch", _fix_batch)
    save("one_row", _average_rows)
    save("kernel", lambda model: _replace_weight(model, "backbone.features.conv0.weight", np.zeros((8, 4, 3, 3))))
    save("not_finite", lambda model: _replace_weight(model, "head.fc.bias", np.full(10, np.nan)))
    save("overflowing", _enlarge_weights)


def _replace_weight(model: onnx.ModelProto, name: str, values: np.ndarray) -> None:
    (weight,) = (value for value in model.graph.initializer if value.name == name)
    weight.CopyFrom(onnx.numpy_helper.from_array(values.astype(np.float32), name))


def _enlarge_weights(model: onnx.ModelProto) -> None:
    """Each number is one that a network may have, but not their products."""
    for weight in [value for value in model.graph.initializer if len(value.dims) >= 2]:
        signs = np.where(np.arange(weight.dims[0]) % 2, 1e14, -1e14).reshape(-1, *[1] * (len(weight.dims) - 1))
        _replace_weight(model, weight.name, np.broadcast_to(signs, weight.dims))


def _fix_batch(model: onnx.ModelProto) -> None:
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 4


def _average_rows(model: onnx.ModelProto) -> None:
    """One answer for all images, declared as one for each."""
    last = model.graph.node[-1]
    assert last.output[0] == "logits"
    last.output[0] = "rows"
    model.graph.node.append(onnx.helper.make_node("ReduceMean", ["rows"], ["logits"], axes=[0], keepdims=1))
