"""The references as neighbours: who is near, how votes are confused, and how far is too far.

Everything is measured in units of the scatter within a genome, in the space of one sample. docs/labelling.md states
the method and its reasons.
"""

from collections import Counter, defaultdict
from dataclasses import dataclass, field

import faiss
import numpy as np
from scipy.optimize import nnls

from readclade.embedders.projection import Projection
from readclade.labelling.references import ReferenceIndex
from readclade.taxonomy.lineage import Taxon, get_lowest

# Windows of one species beyond this many make its votes no better, and would outvote a species with one small genome.
_MOST_WINDOWS = 500
# Windows that tell how a species' own windows would vote.
_CONTROLS = 200
# A control's neighbours within its own genome do not count up to this distance: they share its local composition.
_VICINITY_TILES = 5
_MOST_CANDIDATES = 50
_FEWEST_WINDOWS = 8
_MOST_WINDOW_TILES = 5
# The limit of a species that has no other one to be compared with, in radii of a genome.
_LONE_RADII = 3
# A rank says something about a new species where so many have kin at it, and as large a share has it nearest.
_FEWEST_KIN, _KIN_SHARE = 5, 0.9


@dataclass
class Species:
    """What the references know of one lineage.

    Attributes:
        lineage: a name for each of `lineage.RANKS`, "" where it is unknown.
        taxids: of its references; more than one where they are strains.
        references: their numbers.
    """

    lineage: tuple[str, ...]
    taxids: set[int] = field(default_factory=set)
    references: list[int] = field(default_factory=list)


class ReferenceSpace:
    """The references in the space of one sample, in units of the scatter within a genome.

    Args:
        index: the references; their vectors are read once, genome by genome.
        projection: the sample's own.
        unit_bp: size of a typical unit of the sample; windows are made as large, between 1 and 5 tiles.
        neighbours: windows that vote for one unit.
    """

    def __init__(self, index: ReferenceIndex, projection: Projection, unit_bp: float, neighbours: int):
        self.species = _group_species(index)
        self.neighbours = neighbours
        tiles = int(np.clip(round(unit_bp / index.tile_bp), 1, _MOST_WINDOW_TILES))
        while tiles > 1 and np.median([r.tiles for r in index.references]) < _FEWEST_WINDOWS * tiles:
            tiles -= 1
        self.window_bp = tiles * index.tile_bp
        windows, owners, places, genomes = _make_windows(index, projection, tiles)
        self._whiten = _fit_whitening(windows, owners)
        windows = windows @ self._whiten
        genomes = genomes @ self._whiten
        species_of = np.empty(len(index.references), np.int64)
        for number, species in enumerate(self.species):
            species_of[species.references] = number
        self.centres = np.array([genomes[species.references].mean(axis=0) for species in self.species])
        self.radius = _measure_radius(windows, owners)
        kept = _cap_windows(species_of[owners])
        self._windows = windows[kept].astype(np.float32)
        self._owners, self._places, self._of = owners[kept], places[kept], species_of[owners[kept]]
        self._search = faiss.IndexFlatL2(windows.shape[1])
        self._search.add(self._windows)
        self._controls: dict[int, dict[int, float]] = {}
        self._limits = self._set_limits()

    def _set_limits(self):
        """Return for each species and rank how far from its centre a cluster may lie to get the name of that rank.

        The limit is the geometric mean of how far parts of a genome lie from each other and how far the nearest
        species outside the taxon is (but no more than the distance that 90 % of the species keep): a cluster nearer
        is more like a part of it, one farther more like another.
        """
        count, ranks = len(self.species), len(self.species[0].lineage)
        if count == 1:
            return np.full((1, ranks), _LONE_RADII * self.radius)
        search = faiss.IndexFlatL2(self.centres.shape[1])
        search.add(self.centres.astype(np.float32))
        distances, others = search.search(self.centres.astype(np.float32), min(count, 64))
        distances = np.sqrt(np.maximum(distances, 0))
        limits, trusted = np.empty((count, ranks)), np.zeros(ranks, bool)
        for rank in range(ranks)[::-1]:
            outside = np.empty(count)
            kin, near = 0, 0
            names = Counter(species.lineage[: rank + 1] for species in self.species)
            for i, species in enumerate(self.species):
                path = species.lineage[: rank + 1]
                order = [(d, j) for d, j in zip(distances[i], others[i], strict=True) if j != i]
                strangers = [d for d, j in order if self.species[j].lineage[: rank + 1] != path or rank == ranks - 1]
                outside[i] = strangers[0] if strangers else order[-1][0]
                if path[-1] and names[path] > 1:
                    kin += 1
                    near += self.species[order[0][1]].lineage[: rank + 1] == path
            limits[:, rank] = np.sqrt(self.radius * np.minimum(outside, np.quantile(outside, 0.1)))
            # Composition tells a rank only where nearest species share it; else the species' own limit holds.
            trusted[rank] = kin >= _FEWEST_KIN and near >= _KIN_SHARE * kin
        for rank in range(ranks - 1):
            if not trusted[rank]:
                limits[:, rank] = limits[:, -1]
        return limits

    def get_control(self, number: int) -> dict[int, float]:
        """Return how the windows of a species vote when their own place in their genome does not: species -> share."""
        if number not in self._controls:
            mine = np.flatnonzero(self._of == number)
            mine = mine[:: max(1, len(mine) // _CONTROLS)]
            most = min(self.neighbours + 2 * _VICINITY_TILES, len(self._windows))
            votes: defaultdict[int, float] = defaultdict(float)
            for window, found in zip(mine, self._search.search(self._windows[mine], most)[1], strict=True):
                near = (self._owners[found] == self._owners[window]) & (
                    np.abs(self._places[found] - self._places[window]) < _VICINITY_TILES
                )
                free = found[~near][: self.neighbours]
                for voter in self._of[free]:
                    votes[int(voter)] += 1 / len(free)
            # A species of few windows says little about itself: take some perfect votes for granted.
            votes[number] += self.neighbours
            total = sum(votes.values())
            self._controls[number] = {voter: share / total for voter, share in votes.items()}
        return self._controls[number]

    def count_votes(self, vectors: np.ndarray, weights: np.ndarray) -> dict[int, float]:
        """Return the share of each species in a cluster, from the votes of its units' nearest windows.

        Votes are confused in a known way: windows of one species find their nearest neighbours in another one now and
        then. The shares are those whose expected votes fit the votes best (non-negative least squares).

        Source: "adjusted classify and count", Forman 2008, doi:10.1007/s10618-008-0097-y

        Args:
            vectors: (n, d) units in the sample's space.
            weights: (n,) their bases.
        """
        found = self._search.search(
            (vectors @ self._whiten).astype(np.float32), min(self.neighbours, len(self._windows))
        )[1]
        votes = np.bincount(
            self._of[found].reshape(-1), np.repeat(weights / weights.sum() / found.shape[1], found.shape[1])
        )
        candidates = [int(i) for i in np.argsort(-votes, kind="stable")[:_MOST_CANDIDATES] if votes[i] > 0]
        controls = [self.get_control(candidate) for candidate in candidates]
        expected = np.array([[control.get(voter, 0.0) for control in controls] for voter in candidates])
        shares = nnls(expected, votes[candidates])[0]
        shares /= max(1.0, shares.sum())
        return {i: float(share) for i, share in zip(candidates, shares, strict=True) if share > 0}

    def measure_distance(self, number: int, vectors: np.ndarray, weights: np.ndarray) -> float:
        """Return how far a cluster's centre lies from a species', less what chance alone would give so few bases."""
        points = vectors @ self._whiten
        share = weights / weights.sum()
        centre = share @ points
        effective = 1 / np.sum(share**2)
        # Scatter that units of this size have by themselves: a prior worth as many units as it takes to estimate it.
        prior = points.shape[1] * self.window_bp * len(weights) / weights.sum()
        seen = share @ np.sum((points - centre) ** 2, axis=1)
        scatter = (effective * seen + _FEWEST_WINDOWS * prior) / (effective + _FEWEST_WINDOWS)
        return float(np.sqrt(max(0.0, np.sum((centre - self.centres[number]) ** 2) - scatter / effective)))

    def measure_strangeness(self, number: int, taxon: Taxon, vectors: np.ndarray, weights: np.ndarray) -> float:
        """Return a cluster's distance from a species over the limit for the name of a taxon that holds the species."""
        limit = self._limits[number, len(taxon.path) - 1]
        return self.measure_distance(number, vectors, weights) / limit if limit > 0 else np.inf

    def get_taxid(self, taxon: Taxon) -> str:
        """Return the taxid on which all references of a taxon agree, if it is the lowest that they name, else ""."""
        below = [species for species in self.species if taxon.holds(species.lineage)]
        if any(get_lowest(species.lineage) != taxon for species in below):
            return ""
        taxids = set().union(*(species.taxids for species in below))
        return str(taxids.pop()) if len(taxids) == 1 else ""


def _group_species(index: ReferenceIndex) -> list[Species]:
    """Return the species of the references; genomes without a species' name are one by lineage."""
    species: dict[tuple[str, ...], Species] = {}
    for number, reference in enumerate(index.references):
        one = species.setdefault(reference.lineage, Species(reference.lineage))
        one.taxids.add(reference.taxid)
        one.references.append(number)
    return list(species.values())


def _make_windows(index: ReferenceIndex, projection: Projection, tiles: int):
    """Return (n, d) windows, the number of their reference, their first tile, and (references, d) genome means."""
    windows, owners, places, genomes = [], [], [], []
    for number, vectors, bases in index.iterate_vectors():
        projected = projection.apply(vectors).astype(np.float64)
        begins = np.arange(max(1, len(vectors) // tiles)) * tiles  # a rest joins the last window
        weights = bases.astype(np.float64)
        means = np.add.reduceat(projected * weights[:, None], begins) / np.add.reduceat(weights, begins)[:, None]
        kept = _space_evenly(np.arange(len(begins)))
        windows.append(means[kept])
        owners.append(np.full(len(kept), number))
        places.append(begins[kept])
        genomes.append(weights @ projected / weights.sum())
    return np.concatenate(windows), np.concatenate(owners), np.concatenate(places), np.array(genomes)


def _space_evenly(items: np.ndarray) -> np.ndarray:
    """Return at most _MOST_WINDOWS of the items, evenly spaced."""
    return items[np.linspace(0, len(items) - 1, min(len(items), _MOST_WINDOWS)).round().astype(int)]


def _fit_whitening(windows: np.ndarray, owners: np.ndarray) -> np.ndarray:
    """Return (d, d): in its units the windows of one genome scatter by 1 in every direction."""
    d = windows.shape[1]
    scatter, genomes = np.zeros((d, d)), 0
    for mine in _split(windows, owners):
        if len(mine) > 1:
            scatter += np.cov(mine.T).reshape(d, d)
            genomes += 1
    size = np.trace(scatter)
    if not genomes or size <= 0:  # windows without any scatter: nothing can be measured against it
        return np.eye(d)
    # The ridge keeps a direction in which few windows happen to agree from counting without bound.
    values, directions = np.linalg.eigh(scatter / genomes + np.eye(d) * 0.05 * size / genomes / d)
    return directions / np.sqrt(values)


def _measure_radius(windows: np.ndarray, owners: np.ndarray) -> float:
    """Return how far the two halves of a genome lie from each other, in nine of ten genomes, less chance's part.

    It is 0, so that nothing gets a name, where every genome is too short to have two windows.
    """
    gaps = []
    for mine in _split(windows, owners):
        middle = len(mine) // 2
        if middle:
            gap = np.sum((mine[:middle].mean(axis=0) - mine[middle:].mean(axis=0)) ** 2)
            gaps.append(max(0.0, gap - mine.shape[1] * (1 / middle + 1 / (len(mine) - middle))))
    # Not less than the scatter of one window in one direction: nearer things cannot be told apart.
    return max(1.0, float(np.sqrt(np.quantile(gaps, 0.9)))) if gaps else 0.0


def _split(rows: np.ndarray, owners: np.ndarray) -> list[np.ndarray]:
    """Return the rows of each owner; those of one owner stand together."""
    return np.split(rows, np.flatnonzero(np.diff(owners)) + 1)


def _cap_windows(species: np.ndarray) -> np.ndarray:
    """Return the windows to keep, the same number of every species that has so many.

    Args:
        species: (n,) of each window.
    """
    order = np.argsort(species, kind="stable")
    return np.sort(np.concatenate([_space_evenly(mine) for mine in _split(order, species[order])]))
