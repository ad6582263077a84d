"""What was asked for and changes nothing: possible, so that it is said in the log and not refused."""

from collections.abc import Iterator

from src.schema.combinations import Asked

_LEVELLING = ("exponential", "cosine_annealing", "polynomial")  # what the recipes' YAML files are written for
_OF_SCHEDULES = {
    "lr_power": ("polynomial",),
    **dict.fromkeys(("lr_epochs", "lr_gamma", "eta_min", "T_max"), _LEVELLING),
}


def doubts(config: Asked) -> Iterator[str]:
    """A sentence for each flag that the command or the schedule does not use, and for milestones behind the end of
    training.
    """
    for key in config.ignored:
        yield f"{config.command}.py does not use --{key}"
    kind = config.given("dataset") if config.command != "train" else config.dataset
    for key in ("image_root", "uncertain"):
        if config.source(key) == "flag" and kind not in (None, "csv"):
            packed = "; scripts/write_mindrecord.py takes it" if kind == "mindrecord" else ""
            yield f"dataset {kind} does not use {key}{packed}"
    if config.command != "train":
        return
    for key, schedules in _OF_SCHEDULES.items():
        if config.source(key) == "flag" and config.lr_scheduler not in schedules:
            yield f"lr_scheduler {config.lr_scheduler} does not use {key}"
    if config.freeze and not config.train_pretrained and not config.resume:
        yield f"freeze {config.freeze} without train_pretrained: random layers stay as they are"
    if config.lr_scheduler == "exponential":
        unreached = [epoch for epoch in config.lr_epochs if epoch >= config.max_epoch]
        if unreached:
            yield f"lr_epochs {unreached} will not be reached: max_epoch is {config.max_epoch}"
