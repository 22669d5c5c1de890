"""Unaligned BAM: the reads of the FASTQ that it was made of, bit for bit."""

from pathlib import Path

import numpy as np
import pysam
import pytest

from readclade.errors import InputError
from readclade.inputs.tables import INTERLEAVED, Lane
from readclade.reads.cleaning import Cleaning, LaneTable, clean_lanes
from readclade.reads.fragments import read_batches
from readclade.reads.summary import summarise_reads
from readclade.shards.parquet import write_shard


def write_bam(path, records, flag=4, mates=None, aligned=False):
    """Write records as BAM: dorado's form for single reads, Picard's for pairs."""
    header = {"HD": {"VN": "1.6"}} | ({"SQ": [{"SN": "chr1", "LN": 1000}]} if aligned else {})
    with pysam.AlignmentFile(str(path), "wb", header=header) as file:
        for i, record in enumerate(records):
            for side, (name, sequence, qualities) in enumerate([record] if mates is None else [record, mates[i]]):
                read = pysam.AlignedSegment(file.header)
                read.query_name = name.removesuffix(f"/{side + 1}")
                read.flag = flag if mates is None else (77, 141)[side]
                read.query_sequence = sequence
                read.query_qualities_str = qualities
                if aligned:
                    read.flag, read.reference_id, read.reference_start = 0, 0, 10
                    read.cigarstring = f"{len(sequence)}M"
                read.set_tag("RG", "a")
                file.write(read)
    return str(path)


def make_shards(lane, platform, folder):
    """Return the plan, and the bytes of the shards with one number as the vector of each fragment."""
    folder.mkdir()
    plan = summarise_reads("s", platform, [lane], folder, 40_000)
    assert len(plan.shards) > 2
    data = []
    for i in range(len(plan.shards)):
        batches = ((batch, np.ones((len(batch.names), 1), np.float32)) for batch in read_batches(plan, i, folder))
        write_shard(folder / "shard.parquet", batches, 1)
        data.append((folder / "shard.parquet").read_bytes())
    return plan, data


@pytest.mark.parametrize("compression", ["plain", "gzip"])
def test_bam_of_long_reads_gives_the_shards_of_fastq(tmp_path, write_fastq, take_reads, compression):
    reads = take_reads("long.fastq.gz", 60)
    fastq = Lane(write_fastq(tmp_path / "reads.fq", reads, compression), None)
    bam = Lane(write_bam(tmp_path / "reads.bam", reads), None)
    plan, data = make_shards(bam, "ont", tmp_path / "bam")
    expected, same = make_shards(fastq, "ont", tmp_path / "fastq")
    assert data == same
    assert (plan.fragments, plan.bases, plan.qualities) == (60, expected.bases, expected.qualities)
    assert plan.lanes[0].indexes == ("index/lane1_1.gz",)


@pytest.mark.parametrize("declared", [None, INTERLEAVED])
def test_bam_of_pairs_gives_the_shards_of_fastq(tmp_path, write_fastq, take_reads, declared):
    first, second = take_reads("pairs_1.fastq.gz", 600), take_reads("pairs_2.fastq.gz", 600)
    mixed = [record for pair in zip(first, second, strict=True) for record in pair]
    bam = Lane(write_bam(tmp_path / "reads.bam", first, mates=second), declared)
    plan, data = make_shards(bam, "illumina", tmp_path / "bam")
    _, same = make_shards(Lane(write_fastq(tmp_path / "reads.fq", mixed), INTERLEAVED), "illumina", tmp_path / "fastq")
    assert data == same
    assert (plan.fragments, plan.lanes[0].fq2) == (600, INTERLEAVED)


def test_bam_is_cleaned_as_fastq_is(tmp_path, write_fastq, take_reads):
    reads = take_reads("long.fastq.gz", 20)
    lanes = (
        Lane(write_bam(tmp_path / "a.bam", reads), None),
        Lane(write_fastq(tmp_path / "a.fq", reads), None),
    )
    cleaned = [
        clean_lanes(LaneTable([lane]), "ont", Cleaning(mask=True), tmp_path / str(i), 1) for i, lane in enumerate(lanes)
    ]
    data = [Path(table.lanes[0].fq1).read_bytes() for table in cleaned]
    assert data[0] == data[1]


def test_bam_without_qualities_has_them_as_samtools_writes_them(tmp_path):
    path = write_bam(tmp_path / "reads.bam", [("a", "ACGT", None)])
    plan = summarise_reads("s", "pacbio", [Lane(path, None)], tmp_path / "out", 1000)
    assert plan.qualities.counts == (0, 4)


@pytest.mark.parametrize("flag", [16, 4 | 256])
def test_bam_with_alignments_is_refused_with_the_way_back(tmp_path, take_reads, flag):
    path = write_bam(tmp_path / "reads.bam", take_reads("long.fastq.gz", 3), flag, aligned=flag == 16)
    with pytest.raises(InputError, match="holds alignments") as caught:
        summarise_reads("s", "ont", [Lane(path, None)], tmp_path / "out", 1000)
    assert caught.value.path == path
    assert "samtools fastq" in caught.value.remedy


@pytest.mark.parametrize("left", [0.2, 0.5, 0.9])
def test_truncated_bam_is_refused(tmp_path, take_reads, left):
    path = tmp_path / "reads.bam"
    write_bam(path, take_reads("long.fastq.gz", 100))
    data = path.read_bytes()
    path.write_bytes(data[: int(left * len(data))])
    with pytest.raises(InputError, match="bam data are truncated or damaged"):
        summarise_reads("s", "ont", [Lane(str(path), None)], tmp_path / "out", 1000)
