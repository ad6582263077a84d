"""What ranks do together, on three real ones: exact sums, the master's state, batch normalisation over all images."""

import json
import re
import zlib

import numpy as np
import pytest
from commands import write_pictures
from group_checks import whole_batch, whole_scores
from ranks import run_ranks
from sklearn.metrics import average_precision_score, roc_auc_score

from src.datasets.classification import evaluation_batches
from src.datasets.preprocessing import default_preprocessing
from src.datasets.sources import open_source

pytestmark = pytest.mark.slow
RANKS = 3


@pytest.fixture(scope="module")
def found(forked, tmp_path_factory) -> list[dict]:
    """What each rank printed."""
    folder = tmp_path_factory.mktemp("group")
    write_pictures(folder / "pictures", ("a", "b"), each=5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "home"))
        outputs = run_ranks(forked, folder / "logs", "tests/group_checks", folder / "pictures", ranks=RANKS)
    return [json.loads(re.findall(r"^found (.*)$", output, re.MULTILINE)[0]) for output in outputs]


def test_ranks_are_numbered(found):
    assert [f["rank"] for f in found] == [0, 1, 2]


def test_rows_of_all_ranks_are_gathered_where_each_has_another_number(found):
    expected = [[10**9 + rank] * 3 for rank in range(3) for _ in range(rank)]
    assert all(f["gathered"] == expected for f in found)


def test_counts_are_summed_exactly_where_float32_would_round(found):
    assert all(f["counts"] == [3, 3 * 10**9 + 3] for f in found)


def test_scores_of_several_labels_are_scikit_learns_over_all_pictures(found):
    logits, labels = whole_scores()
    known = [(row >= 0, row == 1) for row in labels.T]
    for place, figure in enumerate((roc_auc_score, average_precision_score)):
        expected = [figure(yes[of], scores[of]) for (of, yes), scores in zip(known, logits.T, strict=True)]
        for one in found:
            np.testing.assert_allclose(one["scores"][place], expected, rtol=0, atol=1e-12)


def test_one_rank_fills_the_cache_in_memory_and_all_share_it(found, tmp_path):
    write_pictures(tmp_path, ("a", "b"), each=5)
    source, preprocessing = open_source("folder", tmp_path, split="eval"), default_preprocessing("folder", 32)
    ((images, *_),) = evaluation_batches(source, preprocessing, batch_size=10, workers=1)
    decoded = [f["cache"][:2] for f in found]
    assert sorted(decoded) == [[0, 0], [0, 0], [10, 10]]
    assert {f["cache"][2] for f in found} == {zlib.crc32(images)}


def test_means_and_the_largest_flag(found):
    assert all((f["mean"], f["any"]) == ([1.0, 1.0], [0, 15]) for f in found)


def test_the_masters_values_arrive_bit_for_bit(found):
    assert all(f["bits"] == [0x7FC00001, -0x80000000, 1, -5] for f in found)
    assert all((f["text"], f["empty"]) == ("ä text \0 of any length, " * 1000, "") for f in found)


def test_an_overflow_flag_of_one_device_makes_all_ranks_skip(found):
    (applied, skipped), *others = (f["updates"] for f in found)
    assert all(other == [applied, skipped] for other in others)
    assert applied[1:] == [0, 8.0] and skipped[1:] == [1, 4.0] and applied[0] != skipped[0]


def test_an_error_of_the_master_is_raised_on_every_rank(found):
    message = "no such file; give another one"
    assert all(f["errors"] == [["ReportedError", message], ["UsageError", message]] for f in found)


def test_parameters_of_other_seeds_become_the_masters(found):
    assert found[0]["differed"] != found[1]["differed"]
    assert len({f["weights"] for f in found}) == 1
    assert [f["int"] for f in found] == [7, 7, 7]


def test_synchronised_batch_normalisation_is_that_of_the_whole_batch(found):
    """Against float64, one process, all images: value, gradients, running statistics (Ioffe and Szegedy 2015)."""
    x, w = (part.astype(np.float64) for part in whole_batch(RANKS))
    axes, count = (0, 2, 3), x.size // 3
    mean, variance = (v.reshape(1, 3, 1, 1) for v in (x.mean(axes), x.var(axes)))
    normal = (x - mean) / np.sqrt(variance + 1e-5)
    upstream = w * (normal > 0)
    beta, gamma = upstream.sum(axes), (upstream * normal).sum(axes)
    by_images = (upstream - (beta.reshape(1, 3, 1, 1) + normal * gamma.reshape(1, 3, 1, 1)) / count) / np.sqrt(
        variance + 1e-5
    )
    parts = [[np.array(array) for array in f["norm"]] for f in found]
    assert sum(p[0] for p in parts) == pytest.approx((np.maximum(normal, 0) * w).sum(), rel=1e-5)
    np.testing.assert_allclose(np.concatenate([p[1] for p in parts]), by_images, atol=1e-5)
    np.testing.assert_allclose(sum(p[2] for p in parts), gamma, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(sum(p[3] for p in parts), beta, rtol=1e-5, atol=1e-5)
    for part in parts:
        np.testing.assert_allclose(part[4], 0.1 * mean.ravel(), rtol=1e-5)
        np.testing.assert_allclose(part[5], 0.9 + 0.1 * variance.ravel() * count / (count - 1), rtol=1e-5)
    assert all((p[4] == parts[0][4]).all() and (p[5] == parts[0][5]).all() for p in parts)
