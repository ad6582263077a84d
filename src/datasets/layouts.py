"""The kinds of data sets by name, for whoever has to name them without opening one."""

LAYOUTS = {
    "cifar10": "the folder of CIFAR-10's binary version",
    "imagenet": "a folder of class folders",
    "folder": "a folder of class folders",
    "list": "a text file of `path label` lines",
    "csv": "a CSV file of pictures and labels",
    "mindrecord": "a folder that scripts/write_mindrecord.py has written",
    "cifar100": "the folder of CIFAR-100's binary version",
}
DATASETS = (*LAYOUTS, "digits")
