"""Find the words of amino acids that mark genes which genomes have once (genomes/markers.txt).

Example, from the repository root, after fetch_genomes.py:
    PYTHONPATH=src .venv/bin/python benchmarks/communities/find_markers.py --genomes ~/genomes \\
        --out src/readclade/clustering/genomes/markers.txt

Takes one genome of each species of the tune split. A word of nine amino acids, in any of the six frames, is kept if it
stands in three genera or more and in no genome twice. Words of one open reading frame, in any genome, are of one
marker. A marker that is in two reading frames of one genome is a family and left out, as is one of a single word.
"""

import textwrap
from pathlib import Path

import numba
import numpy as np
from genome_list import Genome, read_genomes
from simulation import read_fasta

from readclade.cli import make_parser, run, start_log
from readclade.clustering.genomes.codons import add_codon, make_codon_table
from readclade.clustering.genomes.markers import AMINO_ACIDS, spell_word
from readclade.letters import CODES
from readclade.storage.files import write_atomically

LEAST_GENERA = 3
LEAST_WORDS = 2
LEAST_ACIDS = 5  # different ones in a word
SHORTEST_BP = 600_000


@numba.njit(cache=True)
def _scan(codes, table, words, frames):
    """Write every word of both strands and the number of its reading frame, a run of codons without a stop."""
    count = begun = codon = known = 0
    proteins = np.zeros((2, 3), np.uint64)
    runs, numbers = np.zeros((2, 3), np.int64), np.zeros((2, 3), np.int64)
    for position in range(len(codes)):
        code = np.int64(codes[position])
        if code > 3:
            known = 0
            runs[:] = 0
            continue
        codon = ((codon << 2) | code) & 63
        known += 1
        if known < 3:
            continue
        frame = position % 3
        for strand in range(2):
            length = add_codon(codon, strand, frame, table, AMINO_ACIDS, proteins, runs)
            if length == 1:
                numbers[strand, frame] = begun
                begun += 1
            if length >= AMINO_ACIDS:
                words[count], frames[count] = proteins[strand, frame], numbers[strand, frame]
                count += 1
    return count


def list_words(sequence: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Return (n,) uint64, the words of a genome, and (n,) int64, the reading frame of each."""
    codes = CODES[np.frombuffer(sequence, np.uint8)]
    words, frames = np.empty(2 * len(codes), np.uint64), np.empty(2 * len(codes), np.int64)
    count = _scan(codes, make_codon_table(), words, frames)
    return words[:count], frames[:count]


def choose_genomes(genomes: list[Genome]) -> list[Genome]:
    """Return the first genome of each species of the tune split."""
    first: dict[str, Genome] = {}
    for genome in genomes:
        if genome.split == "tune" and genome.length_bp >= SHORTEST_BP:
            first.setdefault(genome.taxid, genome)
    return list(first.values())


def choose_words(listed: list[tuple[str, np.ndarray]]) -> np.ndarray:
    """Return (w,) uint64, ascending: the words in enough genera, once in each genome.

    Args:
        listed: of each genome its genus and its words.
    """
    genera = sorted({genus for genus, _ in listed})
    several, parts = [np.zeros(0, np.uint64)], []
    for genus in genera:
        seen = [np.zeros(0, np.uint64)]
        for other, words in listed:
            if other == genus:
                unique, counts = np.unique(words, return_counts=True)
                several.append(unique[counts > 1])
                seen.append(unique)
        parts.append(np.unique(np.concatenate(seen)))
    words, counts = np.unique(np.concatenate(parts), return_counts=True)
    words = np.setdiff1d(words[counts >= LEAST_GENERA], np.concatenate(several))
    return words[[len(set(spell_word(word))) >= LEAST_ACIDS for word in words.tolist()]]


def join_words(chosen: np.ndarray, genomes: list[tuple[np.ndarray, np.ndarray]]) -> list[list[int]]:
    """Return the markers: words that share a reading frame, directly or by others; families left out.

    Args:
        chosen: (w,) uint64, ascending.
        genomes: of each its words and their reading frames.
    """
    parents = np.arange(len(chosen))

    def find(word: int) -> int:
        while parents[word] != word:
            parents[word] = parents[parents[word]]
            word = parents[word]
        return int(word)

    held = []
    for words, frames in genomes:
        places = np.minimum(np.searchsorted(chosen, words), len(chosen) - 1)
        hit = chosen[places] == words
        order = np.argsort(frames[hit], kind="stable")
        held.append((places[hit][order], frames[hit][order]))
    for places, frames in held:
        for index in np.flatnonzero(frames[1:] == frames[:-1]).tolist():
            one, other = sorted((find(places[index]), find(places[index + 1])))
            parents[other] = one
    markers = np.array([find(word) for word in range(len(chosen))])
    family = np.zeros(len(chosen), bool)
    for places, frames in held:
        pairs = np.unique(np.column_stack([markers[places], frames]), axis=0)
        family |= np.bincount(pairs[:, 0], minlength=len(chosen)) > 1
    joined = [chosen[markers == marker].tolist() for marker in np.unique(markers[~family[markers]]).tolist()]
    return [words for words in joined if len(words) >= LEAST_WORDS]


def make_list(markers: list[list[int]], names: list[str]) -> str:
    """Return the text of the file that holds the markers."""
    found = "Words of nine amino acids, a line for each marker (markers.py), found by "
    head = [f"{found}benchmarks/communities/find_markers.py.", *textwrap.wrap(f"From {', '.join(names)}.", 110)]
    written = [" ".join(map(spell_word, words)) for words in markers]
    return "".join(f"{line}\n" for line in [*(f"# {line}" for line in head), *written])


def main() -> None:
    """Find the markers and write them."""
    parser = make_parser(__doc__)
    parser.add_argument("--genomes", required=True, type=Path, help="folder that fetch_genomes.py filled")
    parser.add_argument("--out", required=True, type=Path, help="file to write")
    arguments = parser.parse_args()
    genomes = choose_genomes(read_genomes())
    listed = []
    for genome in genomes:
        path = arguments.genomes / f"{genome.name}.fa.gz"
        listed.append(list_words(b"N".join(read_fasta(path, "Run benchmarks/communities/fetch_genomes.py.").values())))
    chosen = choose_words([(genome.get_rank("g"), words) for genome, (words, _) in zip(genomes, listed, strict=True)])
    markers = join_words(chosen, listed)
    write_atomically(arguments.out, make_list(markers, [genome.organism for genome in genomes]))
    start_log("find_markers").info(f"{sum(map(len, markers)):,} words of {len(markers)} markers")


if __name__ == "__main__":
    run(main)
