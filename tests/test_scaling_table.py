"""docs/scaling.md shows what scripts/scaling_table.py computes, from the real networks."""

import re

import pytest
from commands import ROOT

from scripts.scaling_table import CIFAR, HCCS, IMAGENET, LINKS, ROCE, kept, main, norm_exchange, ring, tables, two_level
from src.network.densenet import DenseNet, architecture
from src.optimizers.sgd import SGD
from src.utils.checkpoint import save_checkpoint
from src.utils.errors import UsageError

DOCUMENT = (ROOT / "docs/scaling.md").read_text("utf-8")


@pytest.mark.slow
def test_the_document_shows_exactly_the_computed_tables():
    shown = re.findall(r"^<!-- .*? -->\n(?:\|.*\n)+", DOCUMENT, re.MULTILINE)
    assert [text.rstrip("\n") for text in shown] == tables()


@pytest.mark.parametrize("recipe, values, channels", [(CIFAR, 769_210, 12_018), (IMAGENET, 7_978_856, 41_824)])
def test_sizes_are_those_of_the_networks(recipe, values, channels):
    assert (recipe.size.values, sum(recipe.size.norms)) == (values, channels)
    assert values == architecture(recipe.net, recipe.classes).num_parameters


def test_a_real_checkpoint_is_as_large_as_computed(tmp_path):
    network = DenseNet(architecture(CIFAR.net, CIFAR.classes))
    moments = SGD(network.trainable_params(), momentum=0.9, weight_decay=1e-4).moments
    save_checkpoint(tmp_path / "a.ckpt", [*network.get_parameters(), *moments], {})
    written = (tmp_path / "a.ckpt").stat().st_size
    assert CIFAR.size.checkpoint_bytes < written < 1.02 * CIFAR.size.checkpoint_bytes
    assert written == pytest.approx(6_316_184, abs=1000)  # the size that the document states


def test_times_by_hand():
    ethernet = LINKS[1]
    assert ring(1, 10**9, ROCE) == 0
    assert ring(8, 30 * 10**9, ROCE) == pytest.approx(2 * 7 / 8 + 14 * 5e-6)  # HCCS, whatever is between servers
    assert ring(16, 125 * 10**8, ROCE) == pytest.approx(2 * 15 / 16 + 30 * 10e-6)
    inside = ring(8, 25 * 10**9, HCCS)
    assert two_level(8, 25 * 10**9, ethernet) == inside
    assert two_level(32, 25 * 10**9, ethernet) - inside == pytest.approx(2 * 3 / 4 * 8 + 4 * 50e-6)
    assert two_level(32, 25 * 10**9, ROCE) - inside == pytest.approx(2 * 3 / 4 / 4 + 4 * 10e-6)
    assert kept(CIFAR, CIFAR.step) == 0.5
    assert kept(CIFAR, CIFAR.step, overlap=True) == pytest.approx(3 / 4)
    assert kept(CIFAR, 0.6 * CIFAR.step, overlap=True) == 1
    assert norm_exchange(8, IMAGENET) == pytest.approx(4 * 121 * 14 * 5e-6, rel=0.01)  # latency is all of it


def test_the_chart_is_drawn(tmp_path, capsys):
    main([str(tmp_path / "a chart.png")])
    assert (tmp_path / "a chart.png").read_bytes()[:4] == b"\x89PNG"
    assert capsys.readouterr().out == "\n\n".join(tables()) + "\n"
    with pytest.raises(UsageError, match="usage"):
        main(["chart.txt"])
