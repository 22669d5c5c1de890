"""Reads without what does not come from the community: adapters, bad ends, host or control DNA, simple repeats.

fastp cuts short reads, minimap2 finds the reads of given genomes, DUST finds simple repeats. Their input is read and
checked here before (fastp ends with success in the middle of a truncated file), and what they say they read and wrote
is compared with what was read here. Mates stay together; fragments keep their order.
"""

import json
import logging
import os
import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from isal import igzip_threaded
from pydustmasker import DustMasker

from readclade.errors import ConfigError, InputError, ReadcladeError
from readclade.inputs.lanes import LaneTable
from readclade.inputs.tables import INTERLEAVED, Lane
from readclade.reads import fastq
from readclade.reads.records import get_fragment_name, open_lane

_log = logging.getLogger(__name__)

# What stands behind a first and a second mate that is longer than its insert.
# Source: Illumina Adapter Sequences (1000000002694), "TruSeq" and its transposase adapter "Nextera"; MGI's note on the
# adapters of its libraries.
ADAPTERS = {
    "truseq": ("AGATCGGAAGAGCACACGTCTGAACTCCAGTCA", "AGATCGGAAGAGCGTCGTGTAGGGAAAGAGTGT"),
    "nextera": ("CTGTCTCTTATACACATCT", "CTGTCTCTTATACACATCT"),
    "mgi": ("AAGTCGGAGGCCAAGCGGTCTTAGGAAGACAA", "AAGTCGGATCGTAGCCATGTCGTTCTGTGAGCCAAGGAGTTG"),
}
_PRESETS = {"illumina": "sr", "ont": "map-ont", "pacbio": "map-hifi"}
_LEAST_COVERED = 0.5  # of a read, for it to count as one of the genomes' own
_LEAST_FOR_DUST = 4  # the masker refuses shorter reads


@dataclass(frozen=True)
class Cleaning:
    """Say what is cleaned.

    Attributes:
        adapters: which of `ADAPTERS` are cut, from short reads only; None for none.
        min_quality: mean Phred quality of 4 bases below which the rest of a short read is cut, 0 or 1 to 36; 0 is off.
        min_length: bases below which a cut read is dropped, with its mate.
        mask: whether simple repeats become N.
        remove: FASTA file of genomes whose reads are dropped, None for none.
    """

    adapters: str | None = None
    min_quality: int = 0
    min_length: int = 31
    mask: bool = False
    remove: str | None = None

    def is_cut(self, platform: str) -> bool:
        """Return whether reads of a platform are cut."""
        return platform == "illumina" and (self.adapters is not None or self.min_quality > 0)


def clean_lanes(table: LaneTable, platform: str, cleaning: Cleaning, out: Path, threads: int) -> LaneTable:
    """Write the cleaned reads of a sample's lanes as gzip files into `out`.

    Args:
        table: the lanes as they are.
        out: folder, which must not hold anything yet.
        threads: of each tool.

    Returns:
        The lanes that have reads left, with counts over all lanes as `cleaning`.

    Raises:
        InputError: a file is no sound FASTQ, or no read is left.
        ConfigError: a tool is missing.
        ReadcladeError: a tool failed.
    """
    tools = _find_tools(platform, cleaning)
    out.mkdir(parents=True, exist_ok=True)
    counts: Counter[str] = Counter()
    result = LaneTable([])
    for number, lane in enumerate(table.lanes):
        origins = table.origins[number] if table.origins else [{"path": path} for path in lane.paths]
        with tempfile.TemporaryDirectory(prefix=".clean", dir=out) as temporary:
            stem = out / f"lane{number + 1}"
            cleaned, own, checksums = _clean_lane(lane, platform, cleaning, stem, Path(temporary), threads)
        counts.update(own)
        _log.info(f"{lane.fq1}: {own['fragments_out']:,} of {own['fragments_in']:,} fragments are left")
        if own["fragments_out"]:
            result.lanes.append(cleaned)
            result.origins.append(
                [{"sha256": sha256, **origin} for origin, sha256 in zip(origins, checksums, strict=True)]
            )
    if not result.lanes:
        raise InputError(
            f"cleaning left none of {counts['fragments_in']:,} fragments",
            path=table.lanes[0].fq1,
            remedy="look at the keys of 'cleaning' in the configuration, above all whether cleaning.remove names the "
            "genomes that are wanted",
        )
    result.cleaning = {"counts": dict(counts), "tools": tools, "remove": cleaning.remove}
    return result


def _find_tools(platform: str, cleaning: Cleaning) -> dict[str, str]:
    """Return the versions of the tools that are needed.

    Raises:
        ConfigError: one is not installed.
    """
    needed = {
        "fastp": "turn off cleaning.adapters and cleaning.min_quality" if cleaning.is_cut(platform) else None,
        "minimap2": "leave cleaning.remove empty" if cleaning.remove else None,
    }
    tools = {}
    for tool in (name for name, otherwise in needed.items() if otherwise):
        if shutil.which(tool) is None:
            raise ConfigError(
                f"{tool} is not installed, which cleaning needs",
                remedy=f"install it (make system-deps, or apt-get install {tool}; by conda from the channel "
                f"bioconda), or {needed[tool]}",
            )
        done = subprocess.run([tool, "--version"], capture_output=True, text=True, check=True)
        tools[tool] = (done.stdout + done.stderr).split()[-1]
    return tools


def _clean_lane(
    lane: Lane, platform: str, cleaning: Cleaning, stem: Path, temporary: Path, threads: int
) -> tuple[Lane, Counter[str], list[str]]:
    """Write one lane's cleaned reads; return them, the counts, and the checksums of the lane's files."""
    is_paired = lane.fq2 is not None
    counts: Counter[str] = Counter()
    checksums: list[str] = []
    counts.update(dict.fromkeys(["fragments_removed", "bases_removed"] if cleaning.remove else [], 0))
    counts.update(dict.fromkeys(["masked_bases"] if cleaning.mask else [], 0))
    source = lane
    if cleaning.is_cut(platform) or cleaning.remove:
        source = _check_and_stage(lane, temporary, counts, checksums)
    if cleaning.is_cut(platform):
        source = _cut(source, cleaning, temporary, threads, counts)
    paths = [f"{stem}_{mate}.fastq.gz" for mate in (1, 2)[: 1 + is_paired]]
    with _find_hits(source, platform, cleaning.remove, threads, temporary) as hits:
        own = _write_rest(source, hits, cleaning.mask, paths, [] if checksums else checksums)
    if not counts["fragments_in"]:
        for key in ("fragments_in", "reads_in", "bases_in"):
            counts[key] = own[key]
    if cleaning.is_cut(platform) and counts["reads_cut_out"] != own["reads_in"]:
        raise ReadcladeError(
            f"fastp says that it wrote {counts['reads_cut_out']:,} reads of {lane.fq1}, but {own['reads_in']:,} are"
            " there"
        )
    del counts["reads_cut_out"]
    counts.update({key: value for key, value in own.items() if not key.endswith("_in")})
    return Lane(paths[0], paths[1] if is_paired else None), counts, checksums


def _check_and_stage(lane: Lane, temporary: Path, counts: Counter[str], checksums: list[str]) -> Lane:
    """Read a lane through with every check; return it, or a copy of it in the form that the tools read."""
    # fastp tells gzip by the name alone.
    is_ready = lane.fq2 != INTERLEAVED and all(
        os.path.isfile(path) and fastq.get_compression(path) == ("gzip" if path.endswith(".gz") else "")
        for path in lane.paths
    )
    paths = [str(temporary / f"raw_{mate}.fastq.gz") for mate in (1, 2)[: 1 if lane.fq2 is None else 2]]
    with ExitStack() as stack:
        writers = [] if is_ready else [stack.enter_context(_open_writer(path)) for path in paths]
        for mates in _read_fragments(lane, checksums):
            counts["fragments_in"] += 1
            counts["reads_in"] += len(mates)
            counts["bases_in"] += sum(len(record.sequence) for record in mates)
            for record, writer in zip(mates, writers, strict=bool(writers)):
                writer.write(record.fastq_bytes())
    return lane if is_ready else Lane(paths[0], paths[1] if len(paths) == 2 else None)


def _read_fragments(lane: Lane, checksums: list[str]) -> Iterator[list]:
    """Yield the one or two records of each fragment; at the end, add the checksum of each file to `checksums`."""
    with open_lane(lane) as reader:
        for record, mate in reader:
            yield [record] if mate is None else [record, mate]
        checksums += reader.get_sha256()


def _open_writer(path: str):
    return igzip_threaded.open(path, "wb", compresslevel=1, threads=1)


def _cut(lane: Lane, cleaning: Cleaning, temporary: Path, threads: int, counts: Counter[str]) -> Lane:
    """Run fastp on a lane of one or two files."""
    paths = [str(temporary / f"cut_{mate}.fastq.gz") for mate in (1, 2)]
    summary = temporary / "fastp.json"
    command = ["fastp", "--in1", lane.fq1, "--out1", paths[0]]
    if lane.fq2:
        command += ["--in2", lane.fq2, "--out2", paths[1]]
    if cleaning.adapters:
        # They are named, because fastp's search for unknown ones takes a frequent word of a small genome for one.
        first, second = ADAPTERS[cleaning.adapters]
        command += ["--adapter_sequence", first] + (["--adapter_sequence_r2", second] if lane.fq2 else [])
    else:
        command += ["--disable_adapter_trimming", "--disable_trim_poly_g"]
    if cleaning.min_quality:
        command += ["--cut_right", "--cut_mean_quality", str(cleaning.min_quality)]
    command += ["--disable_quality_filtering", "--length_required", str(cleaning.min_length), "--compression", "1"]
    command += [
        "--dont_eval_duplication",
        "--json",
        str(summary),
        "--html",
        "/dev/null",
        "--thread",
        str(min(threads, 16)),
    ]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    if done.returncode != 0:
        raise _tool_failed("fastp", done.returncode, done.stdout)
    content = json.loads(summary.read_text(encoding="utf-8"))
    before, after = content["summary"]["before_filtering"], content["summary"]["after_filtering"]
    if before["total_reads"] != counts["reads_in"] or before["total_bases"] != counts["bases_in"]:
        raise ReadcladeError(
            f"fastp read {before['total_reads']:,} of {counts['reads_in']:,} reads of {lane.fq1}: "
            + done.stdout.strip().partition("\n")[0],
            remedy="compress the file again with gzip, or leave cleaning.adapters and cleaning.min_quality off",
        )
    adapters = content.get("adapter_cutting", {})
    counts["reads_with_adapter"] += adapters.get("adapter_trimmed_reads", 0)
    counts["adapter_bases"] += adapters.get("adapter_trimmed_bases", 0)
    counts["reads_too_short"] += before["total_reads"] - after["total_reads"]
    counts["bases_cut"] += before["total_bases"] - after["total_bases"]
    counts["reads_cut_out"] += after["total_reads"]
    return Lane(paths[0], paths[1] if lane.fq2 else None)


@contextmanager
def _find_hits(lane: Lane, platform: str, remove: str | None, threads: int, temporary: Path) -> Iterator[Iterator[str]]:
    """Give the names of the fragments that come from the genomes in `remove`, in the order of the lane."""
    if remove is None:
        yield iter(())
        return
    # One index part, whatever the size of the genomes: with several, the hits would come in the order of the parts.
    command = ["minimap2", "-x", _PRESETS[platform], "-c", "--secondary=no", "-I", "1000G", "-t", str(threads), remove]
    with open(temporary / "minimap2.log", "w+") as log:
        with subprocess.Popen(
            [*command, *lane.paths], stdout=subprocess.PIPE, stderr=log, text=True, errors="replace"
        ) as process:
            try:
                assert process.stdout is not None  # it is a pipe
                yield _select_hits(process.stdout)
            except BaseException:
                process.kill()
                raise
        if process.returncode != 0:
            log.seek(0)
            raise _tool_failed("minimap2", process.returncode, log.read())


def _select_hits(paf: Iterator[str]) -> Iterator[str]:
    """Yield the names of fragments of which a read lies on the genomes by half or more.

    Source: PAF, https://github.com/lh3/miniasm/blob/master/PAF.md; columns 1 to 4 are name, length, begin and end.
    """
    last, name, length = None, None, 0
    spans: list[tuple[int, int]] = []
    for line in paf:
        read, size, begin, end = line.split("\t", 4)[:4]
        if read != name:
            if name is not None and _is_covered(spans, length) and _get_fragment(name) != last:
                last = _get_fragment(name)
                yield last
            name, spans, length = read, [], int(size)
        spans.append((int(begin), int(end)))
    if name is not None and _is_covered(spans, length) and _get_fragment(name) != last:
        yield _get_fragment(name)


def _is_covered(spans: list[tuple[int, int]], length: int) -> bool:
    covered, reached = 0, 0
    for begin, end in sorted(spans):
        covered += max(0, end - max(begin, reached))
        reached = max(reached, end)
    return covered >= _LEAST_COVERED * length


def _get_fragment(name: str) -> str:
    return name[:-2] if name.endswith(("/1", "/2")) else name


def _write_rest(lane: Lane, hits: Iterator[str], mask: bool, paths: list[str], checksums: list[str]) -> Counter[str]:
    """Write the fragments that are no hits, masked if wanted; return the counts."""
    counts: Counter[str] = Counter()
    hit = next(hits, None)
    with ExitStack() as stack:
        writers = [stack.enter_context(_open_writer(path)) for path in paths]
        for mates in _read_fragments(lane, checksums):
            size = sum(len(record.sequence) for record in mates)
            counts.update(fragments_in=1, reads_in=len(mates), bases_in=size)
            if hit is not None and hit == get_fragment_name(mates[0]):
                counts.update(fragments_removed=1, bases_removed=size)
                hit = next(hits, None)
                continue
            if mask:
                counts.update(masked_bases=sum(map(_mask, mates)))
            counts.update(fragments_out=1, reads_out=len(mates), bases_out=size)
            for record, writer in zip(mates, writers, strict=True):
                writer.write(record.fastq_bytes())
    if hit is not None:
        raise ReadcladeError(
            f"minimap2 found '{hit}', which does not follow in {lane.fq1}",
            remedy="give every read a name of its own, the same for both mates",
        )
    return counts


def _mask(record) -> int:
    """Replace the simple repeats of a read by N; return how many bases these are.

    Source: Morgulis et al. 2006, symmetric DUST, with the authors' threshold 20 and window 64.
    """
    if len(record.sequence) < _LEAST_FOR_DUST:
        return 0
    masker = DustMasker(record.sequence)
    if masker.n_masked_bases:
        record.sequence = masker.mask(hard=True)
    return masker.n_masked_bases


def _tool_failed(tool: str, code: int, output: str) -> ReadcladeError:
    last = " ".join(output.strip().splitlines()[-3:])
    return ReadcladeError(f"{tool} ended with {code}: {last}", remedy=f"the end of {tool}'s own message says why")
