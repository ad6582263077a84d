"""What was asked for and changes nothing: possible, so that it is said in the log and not refused."""

from collections.abc import Iterator

from src.schema.combinations import Asked


def doubts(config: Asked) -> Iterator[str]:
    """A sentence for each flag that the command does not use, and for milestones behind the end of training."""
    for key in config.ignored:
        yield f"{config.command}.py does not use --{key}"
    if config.command == "train" and config.lr_scheduler == "exponential":
        unreached = [epoch for epoch in config.lr_epochs if epoch >= config.max_epoch]
        if unreached:
            yield f"lr_epochs {unreached} will not be reached: max_epoch is {config.max_epoch}"
