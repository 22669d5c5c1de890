"""Judge chains, pieces and links by the reads' true genomes."""

import resource
import time

import numpy as np


class Timer:
    """Print the CPU seconds of each step."""

    def __init__(self):
        self._cpu = time.process_time()

    def __call__(self, text: str) -> None:
        cpu = time.process_time()
        print(f"{text}: {cpu - self._cpu:.1f} CPU s", flush=True)
        self._cpu = cpu

    def end(self) -> None:
        """Print the peak of memory."""
        print(f"peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB")


def describe_pieces(piece, genome, bases, depths, most):
    """Return purity by bases of pieces of two reads and more, and shares of reads in pieces of more than `most`.

    Args:
        piece: (reads,) numbers.
        genome: (reads,) true genomes.
        bases: (reads,) weights.
        depths: (genomes,) true depths.
    """
    _, number = np.unique(piece, return_inverse=True)
    keys, inverse = np.unique(number * len(depths) + genome, return_inverse=True)
    top = np.zeros(number.max() + 1)
    np.maximum.at(top, keys // len(depths), np.bincount(inverse, bases))
    total, count = np.bincount(number, bases), np.bincount(number)
    figures = {"pieces": int((count > 1).sum()), "purity": top[count > 1].sum() / max(total[count > 1].sum(), 1)}
    depth, size = depths[genome], count[number]
    classes = {">3x": depth >= 3, "1-3x": (depth >= 1) & (depth < 3), "<1x": depth < 1}
    for name, is_in in classes.items():
        if is_in.any():
            figures[f"in>{most} {name}"] = float((size[is_in] > most).mean())
    return figures


def find_main_genomes(piece, genome, pieces, genomes):
    """Return the genome of most reads of each piece."""
    counts = np.zeros((pieces, genomes), np.int32)
    np.add.at(counts, (piece, genome), 1)
    return counts.argmax(axis=1)


def describe_links(first, second, counts, main, genus):
    """Return how many pairs of pieces are linked and right, and so for links near the best of both pieces.

    Args:
        first, second: (links,) pieces; links within a piece are left out.
        counts: (links,) how often each link was seen.
        main: (pieces,) main genomes.
        genus: (genomes,) numbers; `relatives` are links of pieces whose genus has several genomes.
    """
    n = len(main)
    is_between = first != second
    low, high = np.minimum(first, second)[is_between], np.maximum(first, second)[is_between]
    keys, inverse = np.unique(low * n + high, return_inverse=True)
    weight = np.bincount(inverse, counts[is_between], minlength=len(keys))
    a, b = keys // n, keys % n
    best = np.zeros(n)
    np.maximum.at(best, a, weight)
    np.maximum.at(best, b, weight)
    is_right = main[a] == main[b]
    is_relative = np.isin(genus[main[a]], np.flatnonzero(np.bincount(genus) > 1))
    figures = {}
    for share in (0, 0.2, 0.5):
        is_near = (weight >= share * best[a]) & (weight >= share * best[b])
        figures[f"links of {share} of the best"] = int(is_near.sum())
        figures[f"right at {share}"] = is_right[is_near].mean() if is_near.any() else np.nan
        near = is_near & is_relative
        figures[f"right of relatives at {share}"] = is_right[near].mean() if near.any() else np.nan
    return figures


def describe_against(against, first, second, main, genus):
    """Return of pairs of stretches that only resemble one another how many are of two genomes, and linked, too.

    Args:
        against: (q, 3) stretches, and how often they were found to differ.
        first, second: (links,) stretches, as those of `against` the lower first.
        main: (stretches,) main genomes.
        genus: (genomes,) numbers.
    """
    keys, links = (a * len(main) + b for a, b in (against[:, :2].T, (first, second)))
    is_linked = np.isin(keys, links)
    one, other = main[against[:, :2]].T
    figures = {}
    for least in (1, 3, 10):
        has = against[:, 2] >= least
        alone = has & ~is_linked
        if alone.any():
            figures |= {
                f"of {least} and more": int(has.sum()),
                f"linked too, of {least}": is_linked[has].mean(),
                f"not linked, of two genomes, of {least}": (one != other)[alone].mean(),
            }
    near = ~is_linked & (genus[one] == genus[other])
    figures["of one genus, not linked, of two genomes"] = (one != other)[near].mean() if near.any() else np.nan
    is_wrong, has = main[first] != main[second], np.isin(links, keys)
    figures["wrong links"] = int(is_wrong.sum())
    for name, chosen in (("wrong", is_wrong), ("right", ~is_wrong)):
        figures[f"of {name} links with evidence against"] = has[chosen].mean() if chosen.any() else np.nan
    return figures


def show(label: str, figures: dict) -> None:
    """Print figures in one line."""
    texts = [f"{name} {x:.5f}" if isinstance(x, float) else f"{name} {x:,}" for name, x in figures.items()]
    print(f"{label}: {', '.join(texts)}", flush=True)
