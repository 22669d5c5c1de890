"""Whether a cluster holds two relatives: most genes of one genome have no near relative in the same genome.

Two species of one genus share most of their proteins, though their DNA differs at every third letter. So groups of one
cluster are compared by what they would translate to: words of eight amino acids, in all six frames, sampled by hash.
Two groups are *homologous* where they share such words, most of them spelled differently in DNA: parts of one place,
and copies of a mobile element, spell them alike. Of a single genome few groups have a homologous partner; of two
relatives in one cluster many.
"""

import numba
import numpy as np
from mpi4py import MPI

from readclade.clustering.genomes.codons import add_codon, make_codon_table
from readclade.clustering.links.packing import mix
from readclade.clustering.links.sequences import Sequences
from readclade.clustering.links.sorting import sort_run
from readclade.clustering.ranks.communicator import gather_rows

_AMINO_ACIDS = 8  # of a word
_LETTERS = 3 * _AMINO_ACIDS
_WORDS = 3_000_000  # that rank 0 compares, about
_MOST_DENSITY = 0.25
_MOST_GROUPS = 4  # that share a word: more belong to a family, not to a pair of relatives
_LEAST_WORDS = 5  # that two homologous groups share
_LEAST_PART = 0.005  # of the words of the group that has fewer
_MOST_ALIKE = 0.5  # of the words that are spelled differently, how many may be spelled alike
TWO_RELATIVES = 0.2  # share of a cluster's stretch with a homologous partner in it, from which two relatives are likely


@numba.njit(cache=True)
def _scan(codes, offsets, groups, table, threshold, words, spellings, owners):
    """Write the kept words of all six frames, how DNA spells them, and their groups, as far as there is room.

    Returns:
        how many there are.
    """
    count = 0
    two = np.uint64(2)
    spelling_mask = (np.uint64(1) << np.uint64(2 * _LETTERS)) - np.uint64(1)
    # By strand and frame: the last eight amino acids, and how many stand in a row without a stop.
    proteins, runs = np.zeros((2, 3), np.uint64), np.zeros((2, 3), np.int64)
    spelled = np.zeros(2, np.uint64)
    for i in range(len(groups)):
        if groups[i] < 0:
            continue
        for read in (2 * i, 2 * i + 1):
            runs[:] = 0
            known = 0
            for position in range(offsets[read], offsets[read + 1]):
                code = np.uint64(codes[position])
                if code > 3:
                    known = 0
                    runs[:] = 0
                    continue
                spelled[0] = ((spelled[0] << two) | code) & spelling_mask
                spelled[1] = (spelled[1] >> two) | ((np.uint64(3) - code) << np.uint64(2 * _LETTERS - 2))
                known += 1
                if known < 3:
                    continue
                frame, codon = position % 3, np.int64(spelled[0] & np.uint64(63))
                for strand in range(2):
                    if add_codon(codon, strand, frame, table, _AMINO_ACIDS, proteins, runs) < _AMINO_ACIDS:
                        continue
                    word = mix(proteins[strand, frame])
                    if word < threshold:
                        if count < len(words):
                            words[count], spellings[count], owners[count] = word, spelled[strand], groups[i]
                        count += 1
    return count


def sample_words(comm: MPI.Comm, sequences: Sequences, groups: np.ndarray) -> np.ndarray:
    """Return (w, 3) int64, the groups' sampled words, once each and in order: word, spelling, group. Collective.

    Rank 0 gets those of all ranks, about 4 million at most, and the others none.

    Args:
        groups: (n,) int64, group of each of this rank's fragments, or -1 for none.
    """
    own = int(sequences.lengths[groups >= 0].sum())
    density = min(_MOST_DENSITY, _WORDS / max(comm.allreduce(own), 1))
    threshold = np.uint64(int(density * 2**64))
    parts = [np.zeros((3, 0), np.int64)]
    for block in sequences.blocks():
        rows = groups[block.begin : block.end]
        room = int(2 * len(block.codes) * density) + 4096  # both strands have words, and stops leave some of this free
        while True:
            words, spellings, owners = np.empty(room, np.uint64), np.empty(room, np.uint64), np.empty(room, np.int64)
            count = _scan(block.codes, block.offsets, rows, make_codon_table(), threshold, words, spellings, owners)
            if count <= room:
                break
            room = count  # the same words over and over
        parts.append(np.stack([words[:count].view(np.int64), spellings[:count].view(np.int64), owners[:count]]))
    rows = _sort_once(*np.concatenate(parts, axis=1))
    return rows if comm.size == 1 else _sort_once(*gather_rows(comm, rows, everywhere=False).T)


def _sort_once(words: np.ndarray, spellings: np.ndarray, owners: np.ndarray) -> np.ndarray:
    """Return the different rows of three columns in order, as `np.unique` of the rows, which takes far longer."""
    order = words.argsort()
    words, spellings, owners = words[order], spellings[order], owners[order]
    count = _sort_runs(words, spellings, owners)
    return np.column_stack([words[:count], spellings[:count], owners[:count]])


@numba.njit(cache=True)
def _sort_runs(words, spellings, owners):
    """Sort each run of equal words by spelling, then owner, and leave out what is there already.

    Returns:
        how many rows are left, at the beginning of the arrays.
    """
    count, begin, size = 0, 0, len(words)
    for end in range(1, size + 1):
        if end < size and words[end] == words[begin]:
            continue
        sort_run(spellings[begin:end], owners[begin:end], words[begin:end], end - begin)
        for at in range(begin, end):
            if at == begin or spellings[at] != spellings[count - 1] or owners[at] != owners[count - 1]:
                words[count], spellings[count], owners[count] = words[at], spellings[at], owners[at]
                count += 1
        begin = end
    return count


def _differ(rows: np.ndarray) -> np.ndarray:
    """Return (n,) bool: whether a row is another than the one before."""
    return np.concatenate([np.ones(min(len(rows), 1), bool), (rows[1:] != rows[:-1]).any(axis=1)])


def _list_different(values: np.ndarray) -> np.ndarray:
    """Return `np.unique(values)` of whole numbers, which hashes them before it sorts and takes ten times as long."""
    values = np.sort(values)
    return values[_differ(values[:, None])]


def find_homologs(words: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (p,) and (p,) int64: pairs of homologous groups, the smaller number first.

    Args:
        words: of `sample_words`.
        count: number of groups.
    """
    numbers = np.cumsum(_differ(words[:, :1])) - 1
    places = _list_different(numbers * count + words[:, 2])
    held = np.bincount(places % count, minlength=count)
    shared, _ = _pair(places // count, places % count, count)
    pairs, totals = np.unique(shared, return_counts=True)
    alike, rows = _pair(np.cumsum(_differ(words[:, :2])) - 1, words[:, 2], count)
    # A word that two groups spell alike in two ways counts once.
    alike = _list_different(alike * len(words) + numbers[rows]) // max(len(words), 1)
    known, counts = np.unique(alike, return_counts=True)
    same = np.zeros(len(pairs), np.int64)
    inside = np.isin(known, pairs)
    same[np.searchsorted(pairs, known[inside])] = counts[inside]
    first, second = pairs // count, pairs % count
    different = totals - np.minimum(same, totals)
    homologous = different >= np.maximum(_LEAST_WORDS, _LEAST_PART * np.minimum(held[first], held[second]))
    homologous &= same <= _MOST_ALIKE * different
    return first[homologous], second[homologous]


def _pair(keys: np.ndarray, groups: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return first * count + second of all groups, ascending within a key, with one key, and where each key begins."""
    begins = np.flatnonzero(np.diff(keys, prepend=-1))
    sizes = np.diff(begins, append=len(keys))
    pairs, rows = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for size in range(2, _MOST_GROUPS + 1):
        chosen = begins[sizes == size]
        for one in range(size):
            for other in range(one + 1, size):
                pairs.append(groups[chosen + one] * count + groups[chosen + other])
                rows.append(chosen)
    return np.concatenate(pairs), np.concatenate(rows)


def measure_homology(
    homologs: tuple[np.ndarray, np.ndarray], labels: np.ndarray, weights: np.ndarray, clusters: int
) -> np.ndarray:
    """Return (clusters,) float64: the share of each cluster's stretch that has a homologous partner in the cluster.

    Args:
        labels: (G,) int64, cluster of each group.
        weights: (G,) int64, stretch of each group.
    """
    first, second = homologs
    inside = labels[first] == labels[second]
    has_partner = np.zeros(len(labels), bool)
    has_partner[first[inside]] = has_partner[second[inside]] = True
    total = np.bincount(labels, weights, minlength=clusters)
    return np.bincount(labels, weights * has_partner, minlength=clusters) / np.maximum(total, 1)
