"""Write the labels of a folder of class folders for postprocess.py: a line `name:label` for each picture.

python -m src.deploy.write_labels DATA_DIR LABEL_FILE [--model MODEL]

name is the picture's file name, or CLASS/FILE where a name is in several class folders. label is the number of its
class: with --model, an exported model beside its .json, that of the model's class of the same name; without it that of
the class folder, counted from 0 in the order of the names (of their values where all are numbers), which is the model's
when it was trained on the same class folders.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from src.deploy.labels import labels_of_folders, outputs_of_folders
from src.deploy.manifest import read_manifest
from src.utils.arguments import Parser
from src.utils.errors import run
from src.utils.files import require_new, write_new_text


def main(argv: Sequence[str]) -> None:
    """Write the file as the command line `argv` says."""
    parser = Parser("python -m src.deploy.write_labels DATA_DIR LABEL_FILE [--model MODEL]", __doc__)
    parser.add_argument("data_dir", type=Path, metavar="DATA_DIR")
    parser.add_argument("label_file", type=Path, metavar="LABEL_FILE")
    parser.add_argument("--model", type=Path)
    asked = parser.parse_args(argv)
    require_new(asked.label_file)
    found = labels_of_folders(asked.data_dir)
    if asked.model:
        outputs, guess = outputs_of_folders(asked.data_dir, read_manifest(asked.model))
        found = [(name, of, outputs[of]) for name, of, _ in found]
        if guess:
            print(f"warning: {guess}", file=sys.stderr)
    write_new_text(asked.label_file, "".join(f"{name}:{label}\n" for name, _, label in found))
    print(f"{asked.label_file}: {len(found)} pictures of {len({label for *_, label in found})} classes")


if __name__ == "__main__":
    sys.exit(run(main))
