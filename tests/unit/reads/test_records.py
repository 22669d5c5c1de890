"""The fragments of a lane: mates in step, and no more in memory than the parser needs."""

import pytest

from readclade.errors import InputError
from readclade.inputs.tables import Lane
from readclade.reads.fastq import open_stream
from readclade.reads.records import FragmentReader, open_lane


def read_names(lane: Lane) -> list[tuple[str, str | None]]:
    with open_lane(lane) as reader:
        return [(record.name, None if mate is None else mate.name) for record, mate in reader]


def write_lane(write_fastq, folder, layout: str, names: list[str], mate_names: list[str]) -> Lane:
    def make(names):
        return [(name, "ACGT", "IIII") for name in names]

    if layout == "interleaved":
        mixed = [name for pair in zip(names, mate_names, strict=True) for name in pair]
        return Lane(write_fastq(folder / "both.fq", make(mixed)), "interleaved")
    return Lane(write_fastq(folder / "one.fq", make(names)), write_fastq(folder / "two.fq", make(mate_names)))


@pytest.mark.parametrize("layout", ["two files", "interleaved"])
@pytest.mark.parametrize(
    ("names", "mate_names"),
    [
        (["a/1", "b/1"], ["a/2", "b/2"]),
        (["a", "b"], ["a", "b"]),
        (["a 1:N:0:ACGT", "b 1:N:0:ACGT"], ["a 2:N:0:ACGT", "b 2:N:0:ACGT"]),
        (["S.1.1 1 length=4", "S.2.1 2 length=4"], ["S.1.2 1 length=4", "S.2.2 2 length=4"]),
        (["S.1 1", "S.2 2", "S.3 3"], ["S.1 1", "S.2 2", "S.3 3"]),
        (["a\t1"], ["a\t2"]),
        (["F:2051#CGATGT/1;1"], ["F:2051#CGATGT/2;1"]),
        (["F:1:7:7_1:N:0:ACGT"], ["F:1:7:7_2:N:0:ACGT"]),
        (["F:1:7:7:1:N:0:ACGT"], ["F:1:7:7:2:Y:0:ACGT"]),
        (["a_forward/1"], ["a_reverse/2"]),
        (["a_R1"], ["a_R2"]),
    ],
)
def test_open_lane_accepts_every_convention_for_mates(tmp_path, write_fastq, layout, names, mate_names):
    lane = write_lane(write_fastq, tmp_path, layout, names, mate_names)
    assert read_names(lane) == list(zip(names, mate_names, strict=True))


@pytest.mark.parametrize("layout", ["two files", "interleaved"])
@pytest.mark.parametrize(
    ("names", "mate_names", "pair"),
    [
        (["a/1", "b/1", "c/1"], ["a/2", "c/2", "b/2"], 2),
        (["a", "b"], ["b", "a"], 1),
        # A last digit that differs need not say which mate it is.
        (["S.1", "S.2"], ["S.2", "S.1"], 2),
        (["S.11"], ["S.12"], 1),
        (["F:1:7:7"], ["F:2:7:7"], 1),
        (["r1", "r2", "r3"], ["r2", "r3", "r1"], 1),
    ],
)
def test_open_lane_mates_out_of_step_by_name(tmp_path, write_fastq, layout, names, mate_names, pair):
    lane = write_lane(write_fastq, tmp_path, layout, names, mate_names)
    with pytest.raises(InputError, match=f"out of step with .* at pair {pair}: '.*' is beside '.*'") as caught:
        read_names(lane)
    assert caught.value.path == lane.fq1
    assert caught.value.line == 1 + (pair - 1) * (8 if layout == "interleaved" else 4)
    assert "original order" in caught.value.remedy


@pytest.mark.parametrize(("first", "second"), [("a/2", "a/1"), ("a 2:N:0:ACGT", "a 1:N:0:ACGT")])
def test_open_lane_swapped_mates_are_told_apart(tmp_path, write_fastq, first, second):
    lane = write_lane(write_fastq, tmp_path, "two files", [first], [second])
    with pytest.raises(InputError, match="out of step") as caught:
        read_names(lane)
    assert "exchange fq1 and fq2" in caught.value.remedy


@pytest.mark.parametrize("name", ["a/1", "a 1:N:0:ACGT", "a/2"])
def test_open_lane_first_mates_twice_are_refused(tmp_path, write_fastq, name):
    lane = write_lane(write_fastq, tmp_path, "two files", [name], [name])
    with pytest.raises(InputError, match=rf"holds mates [12], and so does two\.fq: both have '{name}'") as caught:
        read_names(lane)
    assert "as fq2" in caught.value.remedy


def test_open_lane_single_reads_have_no_mates(tmp_path, write_fastq):
    lane = Lane(write_fastq(tmp_path / "reads", [("a/1", "ACGT", "IIII"), ("a/2", "ACGT", "IIII")]), None)
    assert read_names(lane) == [("a/1", None), ("a/2", None)]


@pytest.mark.parametrize("layout", ["two files", "interleaved"])
def test_reader_forgets_what_lies_behind(tmp_path, write_fastq, layout):
    names = [f"a{number}" * 30 for number in range(40_000)]
    lane = write_lane(write_fastq, tmp_path, layout, names, names)
    streams = [open_stream(path) for path in lane.paths]
    offsets = []
    with FragmentReader(lane, streams) as reader:
        for number, _ in enumerate(reader, 1):
            assert reader.fragments == number
            assert all(len(stream._blocks) <= 3 for stream in streams)
            if number % 1000 == 0:
                offsets.append(reader.get_offsets())
    record = len(b"@\nACGT\n+\nIIII\n") * (2 if layout == "interleaved" else 1)
    ends = [record * 1000 + sum(len(name) for name in names[:1000]) * (2 if layout == "interleaved" else 1)]
    assert offsets[0] == tuple(ends * len(streams))
    assert offsets[-1] == tuple((tmp_path / path).stat().st_size for path in lane.paths)
    assert all(stream._stream.closed for stream in streams)


def test_reader_closes_the_first_file_where_the_second_cannot_be_opened(tmp_path, write_fastq):
    opened = [open_stream(write_fastq(tmp_path / "one.fq", [("a", "ACGT", "IIII")]))]

    def open_both():
        yield opened[0]
        yield open_stream(str(tmp_path / "two.fq"))

    with pytest.raises(InputError, match=r"two\.fq: cannot be read"):
        FragmentReader(Lane(str(tmp_path / "one.fq"), str(tmp_path / "two.fq")), open_both())
    assert opened[0]._stream.closed
