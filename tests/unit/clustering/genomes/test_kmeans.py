"""k-means in whole numbers, on one rank: scikit-learn is the oracle, Python's unbounded integers check exactness."""

from itertools import islice
from pathlib import Path

import dnaio
import numpy as np
import pyarrow as pa
import pytest
from mpi4py import MPI
from scipy import stats
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score

from readclade.clustering.genomes.kmeans import _hash_uniform, _iterate, measure_agreement, run_kmeans, seed_centroids
from readclade.clustering.genomes.lattice import Points
from readclade.clustering.groups.calibration import LATTICE_STEPS, fit_calibration
from readclade.embedders.kmer import KmerEmbedder
from readclade.embedders.projection import fit_projection
from readclade.errors import ConfigError

READS = Path(__file__).parents[4] / "demo" / "reads"


def make_points(values, weights=None, identifiers=None) -> Points:
    values = np.array(values, np.int32).reshape(len(values), -1)
    weights = np.ones(len(values), np.int64) if weights is None else np.array(weights, np.int64)
    identifiers = np.arange(len(values)) if identifiers is None else np.array(identifiers, np.int64)
    return Points(MPI.COMM_SELF, values, weights, identifiers)


def make_blobs(count: int, k: int, spread: float, seed: int, dim: int = 5) -> tuple[Points, np.ndarray]:
    """Return weighted points around k centres, and each point's centre."""
    rng = np.random.default_rng(seed)
    origin = rng.integers(0, k, count)
    centres = rng.uniform(-8, 8, (k, dim))
    values = np.rint((centres[origin] + rng.normal(0, spread, (count, dim))) * LATTICE_STEPS)
    return make_points(values, rng.integers(100, 20_000, count)), origin


@pytest.fixture(scope="module", params=["long", "pairs"])
def demo_points(request) -> Points:
    """The first reads of a demo sample, embedded and whitened."""
    if request.param == "long":
        with dnaio.open(READS / "long.fastq.gz") as reads:
            mates = [(record.sequence, "") for record in islice(reads, 700)]
    else:
        with dnaio.open(READS / "pairs_1.fastq.gz", READS / "pairs_2.fastq.gz") as reads:
            mates = [(record.sequence, mate.sequence) for record, mate in islice(reads, 2000)]
    vectors = KmerEmbedder(4).embed(*(pa.array(column, pa.string()) for column in zip(*mates, strict=True)))
    embeddings = fit_projection(vectors, 32, True).apply(vectors)
    weights = np.array([len(first) + len(second) for first, second in mates])
    calibration = fit_calibration(embeddings, weights, np.zeros((0, 32)), np.zeros(0), 16)
    return make_points(calibration.to_lattice(embeddings), weights)


def measure(points: Points, centroids: np.ndarray) -> tuple[list[int], int]:
    """Return labels and objective in unbounded integers, the plain way."""
    values, centroids = points.points.tolist(), centroids.tolist()
    labels, objective = [], 0
    for value, weight in zip(values, points.weights.tolist(), strict=True):
        distances = [sum((a - b) ** 2 for a, b in zip(value, centroid, strict=True)) for centroid in centroids]
        labels.append(distances.index(min(distances)))
        objective += weight * min(distances)
    return labels, objective


def assert_same(one, other):
    assert np.array_equal(one.centroids, other.centroids)
    assert one.objectives == other.objectives
    assert one.seeding == other.seeding


# Oracle


@pytest.mark.parametrize("seed", range(8))
def test_lloyd_agrees_with_scikit_learn_from_the_same_start(seed, monkeypatch):
    monkeypatch.setattr("readclade.clustering.genomes.kmeans._TOLERANCE", 2**80)  # go on until nothing moves
    points, _ = make_blobs(3000, 7, 0.8, seed)
    start = points.points[np.random.default_rng(seed).choice(3000, 7, replace=False)].astype(np.int64)
    ours = _iterate(points, start, 0)
    oracle = KMeans(7, init=start.astype(float), n_init=1, tol=0, algorithm="lloyd")
    oracle.fit(points.points.astype(float), sample_weight=points.weights)
    assert abs(len(ours.objectives) - oracle.n_iter_) <= 2
    assert ours.objectives[-1] == pytest.approx(oracle.inertia_, rel=1e-7)
    assert np.abs(ours.centroids - oracle.cluster_centers_).max() <= 0.5 + 1e-6
    assert np.array_equal(points.get_distances(ours.centroids)[0], oracle.labels_)


@pytest.mark.parametrize("seed", range(3))
def test_lloyd_stops_when_a_millionth_is_gained(seed, monkeypatch):
    points, _ = make_blobs(3000, 7, 0.8, 1)
    start = points.points[np.random.default_rng(seed).choice(3000, 7, replace=False)].astype(np.int64)
    early = _iterate(points, start, 0)
    monkeypatch.setattr("readclade.clustering.genomes.kmeans._TOLERANCE", 2**80)
    late = _iterate(points, start, 0)
    count = len(early.objectives)
    assert early.objectives == late.objectives[:count]
    assert early.objectives[-1] <= late.objectives[-1] * 1.001
    gains = -np.diff(np.array(late.objectives, float)) / late.objectives[:-1]
    assert (gains[: count - 2] >= 1e-6).all()


@pytest.mark.parametrize("seed", range(3))
def test_lloyd_ends_where_scikit_learn_ends_if_the_blobs_lie_apart(seed):
    points, origin = make_blobs(2000, 6, 0.3, seed)
    start = np.stack([points.points[np.flatnonzero(origin == blob)[0]] for blob in range(6)]).astype(np.int64)
    ours = _iterate(points, start, 0)
    oracle = KMeans(6, init=start.astype(float), n_init=1, tol=0, algorithm="lloyd")
    oracle.fit(points.points.astype(float), sample_weight=points.weights)
    assert np.abs(ours.centroids - oracle.cluster_centers_).max() <= 0.5 + 1e-6
    assert np.array_equal(points.get_distances(ours.centroids)[0], oracle.labels_)
    assert np.array_equal(origin, oracle.labels_)


def assert_no_worse_than_scikit_learn(points: Points, k: int):
    oracle = KMeans(k, n_init=10, random_state=0)
    oracle.fit(points.points.astype(float), sample_weight=points.weights)
    assert run_kmeans(points, k, seedings=8).objectives[-1] <= 1.01 * oracle.inertia_


def test_run_kmeans_is_as_good_as_the_best_of_ten_on_demo_reads(demo_points):
    assert_no_worse_than_scikit_learn(demo_points, 12)


@pytest.mark.parametrize(("k", "spread"), [(20, 0.2), (20, 1.5), (40, 0.5)])
def test_run_kmeans_is_as_good_as_the_best_of_ten_on_blobs(k, spread):
    assert_no_worse_than_scikit_learn(make_blobs(2000, k, spread, 3)[0], k)


# Exactness


def test_get_distances_are_exact_at_the_edge_of_the_lattice():
    rng = np.random.default_rng(0)
    values = rng.integers(-(2**17), 2**17, (300, 24), endpoint=True)
    values[:10], values[10:20] = 2**17, -(2**17)
    centroids = rng.integers(-(2**17), 2**17, (9, 24), endpoint=True)
    centroids[3] = -(2**17)
    labels, nearest, second = make_points(values).get_distances(centroids, with_second=True)
    for row in range(300):
        true = sorted((sum(int(x) ** 2 for x in values[row] - centroid), j) for j, centroid in enumerate(centroids))
        assert (nearest[row], labels[row]) == true[0]
        assert second[row] == true[1][0]


def test_get_distances_without_second_are_minus_one():
    points = make_points([[0], [5]])
    assert points.get_distances(np.array([[0], [5]]))[2].tolist() == [-1, -1]
    assert points.get_distances(np.array([[0]]), with_second=True)[2].tolist() == [-1, -1]


def test_assign_adds_up_exactly_over_several_blocks():
    rng = np.random.default_rng(1)
    count = 2 * 8192 + 5
    points = make_points(rng.integers(-50_000, 50_000, (count, 3)), rng.integers(0, 2**30, count))
    centroids = rng.integers(-50_000, 50_000, (6, 3))
    assignment = points.assign(centroids)
    labels, objective = measure(points, centroids)
    assert assignment.labels.tolist() == labels
    assert assignment.objective == objective
    for cluster in range(6):
        members = assignment.labels == cluster
        weights = points.weights[members].tolist()
        assert assignment.totals[cluster] == sum(weights)
        for column in range(3):
            values = points.points[members, column].tolist()
            assert assignment.sums[cluster, column] == sum(w * x for w, x in zip(weights, values, strict=True))


@pytest.mark.parametrize("far", [2**17, 40_000])
def test_assign_does_not_overflow_with_as_many_bases_as_are_allowed(far):
    rng = np.random.default_rng(2)
    values = rng.integers(-far, far, (64, 16), endpoint=True)
    values[:32], values[32:48] = far, -far
    weights = np.full(64, (2**45 - 1) // 64)
    points = make_points(values, weights)
    assignment = points.assign(np.full((1, 16), -far))
    assert assignment.objective == measure(points, np.full((1, 16), -far))[1]
    assert assignment.sums[0].tolist() == [int(weights[0]) * int(column.sum()) for column in values.T]
    assert len(set(map(tuple, seed_centroids(points, 4, 0).tolist()))) == 4
    assert run_kmeans(points, 3, seedings=2).objectives[-1] < assignment.objective


def test_points_with_too_many_bases_are_refused():
    values, half = [[0], [1]], 2**44
    make_points(values, [half, half - 1])
    with pytest.raises(ConfigError, match=r"35,184,372,088,832 bases .* \(2\^45\)") as caught:
        make_points(values, [half, half])
    assert caught.value.remedy == "cluster fewer samples at once"


def test_run_kmeans_does_not_depend_on_the_order_of_points(demo_points):
    order = np.random.default_rng(3).permutation(demo_points.count)
    shuffled = make_points(demo_points.points[order], demo_points.weights[order], demo_points.identifiers[order])
    one, other = (run_kmeans(points, 9, seed=5, seedings=3) for points in (demo_points, shuffled))
    assert_same(one, other)
    labels = [points.get_distances(one.centroids)[0] for points in (demo_points, shuffled)]
    assert np.array_equal(labels[0][order], labels[1])


def test_a_point_of_twice_the_weight_equals_two_points():
    points, _ = make_blobs(500, 5, 1.0, 4)
    double = make_points(points.points, 2 * points.weights)
    twice = make_points(np.repeat(points.points, 2, axis=0), np.repeat(points.weights, 2))
    start = points.points[:5].astype(np.int64)
    assert_same(_iterate(double, start, 0), _iterate(twice, start, 0))
    one, other = double.assign(start), twice.assign(start)
    assert np.array_equal(one.sums, other.sums)
    assert np.array_equal(one.totals, other.totals)
    assert one.objective == other.objective


def test_points_without_weight_change_nothing():
    points, _ = make_blobs(800, 6, 1.0, 5)
    far = np.random.default_rng(5).integers(-(2**17), 2**17, (200, points.dim))
    with_far = make_points(
        np.concatenate([far, points.points]),
        np.concatenate([np.zeros(200, np.int64), points.weights]),
        np.concatenate([1000 + np.arange(200), points.identifiers]),
    )
    assert_same(run_kmeans(with_far, 6, seedings=3), run_kmeans(points, 6, seedings=3))


def test_run_kmeans_repeats_itself_and_depends_on_the_seed():
    points, _ = make_blobs(2000, 30, 2.0, 6)
    assert_same(run_kmeans(points, 12, seed=1, seedings=2), run_kmeans(points, 12, seed=1, seedings=2))
    assert len({tuple(run_kmeans(points, 12, seed, seedings=1).objectives) for seed in range(4)}) == 4


def test_run_kmeans_takes_any_seed():
    points, _ = make_blobs(200, 3, 0.1, 7)
    assert len(run_kmeans(points, 3, seed=2**64 + 1, seedings=2).centroids) == 3


# Seedings and iterations


def run_seedings(points: Points, k: int, seed: int, seedings: int):
    """Return what each seeding of `run_kmeans` comes to by itself."""
    return [_iterate(points, seed_centroids(points, k, seed * 1009 + seeding), seeding) for seeding in range(seedings)]


def test_run_kmeans_keeps_the_best_seeding(monkeypatch, lines):
    monkeypatch.setattr("readclade.clustering.genomes.kmeans._MOST_COMPARED", 24)  # no consensus
    points, _ = make_blobs(2000, 30, 1.0, 8)
    single = run_seedings(points, 25, 2, 5)
    best = min(single, key=lambda clustering: clustering.objectives[-1])
    assert len({clustering.objectives[-1] for clustering in single}) > 1
    chosen = run_kmeans(points, 25, seed=2, seedings=5)
    assert_same(chosen, best)
    assert chosen.seeding == best.seeding != 0
    assert len(lines) == 5


def test_run_kmeans_takes_what_seedings_agree_on_where_it_is_better(lines):
    better = 0
    for seed in range(6):
        points, _ = make_blobs(2000, 8, 2.0, seed)
        single = run_seedings(points, 40, seed, 6)
        lines.clear()
        chosen = run_kmeans(points, 40, seed, seedings=6)
        best = min(clustering.objectives[-1] for clustering in single)
        assert chosen.objectives[-1] <= best
        assert (chosen.seeding == 6) == (chosen.objectives[-1] < best)
        better += chosen.seeding == 6
        assert "consensus" in lines[6]
        labels = points.get_distances(chosen.centroids)[0]
        others = [points.get_distances(one.centroids)[0] for one in single if one.seeding != chosen.seeding]
        expected = np.mean([adjusted_rand_score(labels, other) for other in others])
        assert chosen.agreement == pytest.approx(expected, abs=1e-12)
    assert better >= 4


def test_objectives_fall_and_end_with_that_of_the_centroids():
    points, _ = make_blobs(2000, 30, 1.5, 9)
    clustering = run_kmeans(points, 12, seedings=1)
    assert len(clustering.objectives) > 5
    assert all(
        later <= earlier for earlier, later in zip(clustering.objectives, clustering.objectives[1:], strict=False)
    )
    assert points.assign(clustering.centroids).objective == clustering.objectives[-1]


def test_iterate_starts_an_empty_cluster_again_at_the_farthest_point():
    #         one group around 0, one around 100, an outlier at 1000
    points = make_points([[-1], [0], [1], [99], [100], [101], [1000]])
    start = np.array([[0], [100], [-90_000]])  # the third has no point
    clustering = _iterate(points, start, 0)
    assert clustering.centroids[:, 0].tolist() == [0, 100, 1000]
    assert clustering.objectives[-1] == 4


def test_iterate_fills_several_empty_clusters():
    points, _ = make_blobs(1000, 8, 0.5, 10)
    start = np.full((8, points.dim), 2**17)
    start[0] = points.points[0]
    start[1:, 0] += np.arange(7)
    clustering = _iterate(points, start, 0)
    assert (points.assign(clustering.centroids).totals > 0).all()


def test_iterate_with_equal_centroids_ends():
    clustering = _iterate(make_points([[3], [3], [3]]), np.array([[3], [3]]), 0)
    assert clustering.objectives[-1] == 0
    assert clustering.centroids.tolist() == [[3], [3]]


def test_ties_go_to_the_lowest_number():
    points = make_points([[0, 0], [5, 0], [-5, 0]])
    centroids = np.array([[9, 9], [5, 5], [-5, 5], [5, 5]])
    assert points.get_distances(centroids)[0].tolist() == [1, 1, 2]
    assert points.get_distances(centroids[::-1])[0].tolist() == [0, 0, 1]


def test_get_lowest_ties_to_the_lowest_identifier():
    points = make_points([[1], [2], [3], [4]], identifiers=[40, 30, 20, 10])
    assert points.get_lowest(np.array([1.0, 0.0, 1.0, 1.0]), 3)[:, 0].tolist() == [2, 4, 3]
    assert points.get_lowest(np.zeros(4), 9)[:, 0].tolist() == [4, 3, 2, 1]


def test_get_means_are_exact_and_leave_points_out():
    points = make_points([[1, -7], [2, 8], [900, 900], [4, 2**17], [2, 2**17]], [3, 1, 5, 2**40, 2**40])
    assert points.get_means(np.array([0, 0, -1, 1, 1]), 2).tolist() == [[1, -3], [3, 2**17]]


def test_get_rows_come_in_the_order_of_identifiers():
    points = make_points([[1], [2], [3], [4]], identifiers=[40, 30, 20, 10])
    assert points.get_rows(np.array([True, False, True, True])).tolist() == [[4], [3], [1]]
    assert points.get_rows(np.zeros(4, bool)).shape == (0, 1)


# Edges of k


def test_one_cluster_is_the_weighted_mean():
    points, _ = make_blobs(300, 3, 1.0, 11)
    mean = np.average(points.points.astype(np.float64), axis=0, weights=points.weights)
    clustering = run_kmeans(points, 1)
    assert np.abs(clustering.centroids[0] - mean).max() <= 0.5 + 1e-9
    assert clustering.objectives[-1] == measure(points, clustering.centroids)[1]


@pytest.mark.parametrize("seed", range(5))
def test_as_many_clusters_as_points(seed):
    rng = np.random.default_rng(seed)
    values = np.unique(rng.integers(-9, 10, (60, 2)) ** 5, axis=0)
    points = make_points(values, 10 ** rng.integers(0, 9, len(values)))
    clustering = run_kmeans(points, len(values), seed, seedings=1)
    assert clustering.objectives[-1] == 0
    assert sorted(clustering.centroids.tolist()) == sorted(values.tolist())


def test_one_point():
    clustering = run_kmeans(make_points([[7, -7]], [5000]), 1)
    assert clustering.centroids.tolist() == [[7, -7]]
    assert clustering.objectives[-1] == 0


def test_more_clusters_than_points_are_refused():
    with pytest.raises(ConfigError, match=r"k = 4 is larger than the number of groups .*, 3\n") as caught:
        run_kmeans(make_points([[1], [2], [3]]), 4)
    assert "smaller" in caught.value.remedy


def test_more_clusters_than_different_points_are_refused():
    points = make_points(np.repeat([[1, 0], [2, 0], [30, 9]], [50, 49, 1], axis=0))
    with pytest.raises(ConfigError, match=r"k = 4 is larger than the number of different fragments, 3\n"):
        run_kmeans(points, 4)
    assert sorted(run_kmeans(points, 3).centroids.tolist()) == [[1, 0], [2, 0], [30, 9]]


def test_points_that_are_all_the_same():
    points = make_points(np.full((20, 3), 11))
    assert run_kmeans(points, 1).centroids.tolist() == [[11, 11, 11]]
    with pytest.raises(ConfigError, match=r"different fragments, 1\n"):
        run_kmeans(points, 2)


# Draws and seeds


@pytest.mark.parametrize("identifiers", [np.arange(20_000), np.arange(20_000) * 4096, -np.arange(20_000)])
def test_hash_uniform_is_uniform(identifiers):
    draws = _hash_uniform(np.uint64(3), identifiers)
    assert ((draws > 0) & (draws <= 1)).all()
    assert stats.kstest(draws, "uniform").pvalue > 1e-3
    counts = np.histogram2d(draws[:-1], draws[1:], bins=10, range=[[0, 1], [0, 1]])[0]
    assert stats.chisquare(counts.ravel()).pvalue > 1e-3


def test_hash_uniform_does_not_depend_on_the_order():
    identifiers = np.random.default_rng(0).integers(0, 2**62, 1000)
    order = np.random.default_rng(1).permutation(1000)
    draws = _hash_uniform(np.uint64(9), identifiers)
    assert np.array_equal(draws[order], _hash_uniform(np.uint64(9), identifiers[order]))
    assert _hash_uniform(np.uint64(9), identifiers[17:18])[0] == draws[17]
    assert len(_hash_uniform(np.uint64(9), identifiers[:0])) == 0


def test_hash_uniform_of_two_seeds_is_unrelated():
    one, other = (_hash_uniform(np.uint64(seed), np.arange(20_000)) for seed in (0, 1))
    assert stats.pearsonr(one, other).pvalue > 1e-3
    assert len(np.intersect1d(one, other)) == 0


def test_hash_uniform_stays_as_it_is():
    # A change would give every user other clusters: the reference values of splitmix64 for seed 0.
    steps = np.arange(1, 4).astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    words = (0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F)
    expected = [((word >> 11) + 0.5) / 2**53 for word in words]
    assert _hash_uniform(np.uint64(0), steps.view(np.int64)).tolist() == expected
    assert [float(_hash_uniform(np.uint64(seed), np.zeros(1, np.int64))[0]) for seed in (1, 2, 3)] == expected


@pytest.mark.parametrize("seed", range(4))
def test_seed_centroids_are_different_points(seed):
    points, _ = make_blobs(1500, 10, 1.0, 12)
    centroids = seed_centroids(points, 40, seed)
    rows = set(map(tuple, points.points.tolist()))
    chosen = set(map(tuple, centroids.tolist()))
    assert len(chosen) == 40
    assert chosen <= rows


def test_seed_centroids_find_a_rare_group_far_away():
    rng = np.random.default_rng(13)
    values = rng.normal(0, 100, (5000, 2))
    values[:3] += 100_000
    points = make_points(np.rint(values))
    for seed in range(10):
        assert (seed_centroids(points, 2, seed)[:, 0] > 50_000).sum() == 1


def test_seed_centroids_find_every_blob():
    points, origin = make_blobs(4000, 25, 0.02, 14)
    centres = np.stack([points.points[origin == blob].mean(axis=0) for blob in range(25)])
    found = [len(set(make_points(seed_centroids(points, 25, seed)).get_distances(centres)[0])) for seed in range(10)]
    assert min(found) >= 24
    assert sum(found) >= 245


def test_seed_centroids_are_drawn_by_weight():
    # With one cluster asked for, the seed is a k-means++ choice among candidates: the heavy point wins nearly always.
    weights = np.ones(50, np.int64)
    weights[20] = 10_000
    points = make_points(np.arange(50).reshape(-1, 1) ** 2, weights)
    heavy = sum(seed_centroids(points, 1, seed).tolist() == [[400]] for seed in range(40))
    assert heavy >= 36


# Agreement of seedings


@pytest.mark.parametrize("k", [1, 2, 7])
def test_measure_agreement_is_the_adjusted_rand_index(k):
    rng = np.random.default_rng(k)
    one = rng.integers(0, k, 500).astype(np.int32)
    other = np.where(rng.random(500) < 0.7, one, rng.integers(0, k, 500)).astype(np.int32)
    for labels in (one, other, (one + 1) % k):
        found = measure_agreement(MPI.COMM_SELF, one, labels, k)
        assert found == pytest.approx(adjusted_rand_score(one, labels), abs=1e-12)
    assert measure_agreement(MPI.COMM_SELF, one[:0], one[:0], k) == 1


def test_run_kmeans_tells_how_well_seedings_agree():
    clear, _ = make_blobs(400, 4, 0.01, 3)
    assert run_kmeans(clear, 4, seedings=3).agreement == 1
    assert 0 < run_kmeans(clear, 30, seedings=3).agreement < 0.9  # blobs without any parts
    assert np.isnan(run_kmeans(clear, 4, seedings=1).agreement)
