"""taxa.tsv: written and read by one module, and refused where it is of other clusters."""

import numpy as np
import pytest

from readclade.errors import InputError
from readclade.results.taxa import COLUMNS, Cluster, read_taxa, read_unclassified, write_taxa

VIBRIO = Cluster(
    0, 3, 450, "666", "Vibrio cholerae", "species", "d__Bacteria;s__Vibrio cholerae", 0.9002, "L. lambda (0.10)"
)
NAMELESS = Cluster(1, 1, 150, "", "unclassified", "", "", 0.0, "")


def test_write_taxa_has_a_row_for_each_cluster(tmp_path):
    write_taxa(tmp_path / "taxa.tsv", [VIBRIO, NAMELESS])
    assert (tmp_path / "taxa.tsv").read_text().splitlines() == [
        "\t".join(COLUMNS),
        "c1\t3\t450\t666\tVibrio cholerae\tspecies\td__Bacteria;s__Vibrio cholerae\t0.9002\tL. lambda (0.10)",
        "c2\t1\t150\t\tunclassified\t\t\t0.0000\t",
    ]


def test_read_taxa_returns_what_was_written_by_number(tmp_path):
    write_taxa(tmp_path / "taxa.tsv", [NAMELESS, VIBRIO])
    assert read_taxa(tmp_path / "taxa.tsv", np.array([3, 1])) == [VIBRIO, NAMELESS]
    assert [cluster.is_named for cluster in (VIBRIO, NAMELESS)] == [True, False]
    assert VIBRIO.label == "c1"


@pytest.mark.parametrize(
    ("sizes", "said"), [([3], "not one of clusters.h5"), ([3, 2], "with that size"), ([3, 1, 4], "one row for each of")]
)
def test_read_taxa_refuses_other_clusters(tmp_path, sizes, said):
    write_taxa(tmp_path / "taxa.tsv", [VIBRIO, NAMELESS])
    with pytest.raises(InputError, match=said):
        read_taxa(tmp_path / "taxa.tsv", np.array(sizes))


def test_read_unclassified_needs_two_columns(tmp_path):
    (tmp_path / "taxa.tsv").write_text("cluster\tname\nc1\tA species\nc2\tunclassified\n")
    assert read_unclassified(tmp_path / "taxa.tsv") == {1}
    (tmp_path / "taxa.tsv").write_text("cluster\nc1\n")
    with pytest.raises(InputError, match="is no table of taxa: has no column name"):
        read_unclassified(tmp_path / "taxa.tsv")
