"""Find the overlaps of long reads: shared k-mers are anchors, edits between them decide; chains from what holds."""

import numba
import numpy as np
from align import count_edits, orient
from scipy.stats import norm

from readclade.clustering.links.packing import U, mix

# Columns of an overlap: two reads, the lower first; whether the second is reversed; anchors, edits, and both stretches.
A, B, REVERSED, HITS, EDITS, A0, A1, B0, B1 = range(9)
_LOW = U(0xFFFFFFFF)


@numba.njit(cache=True)
def _sketch(words, begins, lengths, k, threshold, hashes, places, entry_begins):
    mask = (U(1) << U(2 * k)) - U(1)
    shift = U(2 * (k - 1))
    count = 0
    for r in range(len(lengths)):
        entry_begins[r] = count
        forward, backward, last = U(0), U(0), U(0)
        for p in range(lengths[r]):
            c = (words[begins[r] + (p >> 5)] >> U(2 * (p & 31))) & U(3)
            forward = ((forward << U(2)) | c) & mask
            backward = (backward >> U(2)) | ((U(3) - c) << shift)
            if p < k - 1:
                continue
            h = mix(min(forward, backward) + U(0x9E3779B97F4A7C15))
            if h < threshold and h != last:  # the same again: a run of one base
                last = h
                if count < len(hashes):
                    hashes[count] = h
                    places[count] = (U(r) << U(32)) | (U(p - k + 1) << U(1)) | U(backward < forward)
                count += 1
    entry_begins[len(lengths)] = count
    return count


def sketch_fraction(words, begins, lengths, k, density):
    """Return hash and place of the k-mers of low hash, and where each read's begin.

    A place is, from the highest bit: read (32 bits), position (31), strand (1).
    """
    threshold = U(min(int(density * 2**64), 2**64 - 1))
    size, entry_begins = int(lengths.sum() * density * 1.2) + 1000, np.empty(len(lengths) + 1, np.int64)
    while True:
        hashes, places = np.empty(size, np.uint64), np.empty(size, np.uint64)
        count = _sketch(words, begins, lengths, k, threshold, hashes, places, entry_begins)
        if count <= size:
            return hashes[:count], places[:count], entry_begins
        size = count


@numba.njit(cache=True)
def _arrange(keys, hashes, places, arranged, positions, bucket_ends):
    n = len(keys)
    begin = 0
    for end in range(1, n + 1):
        if end < n and keys[end] >> U(32) == keys[begin] >> U(32):
            continue
        m = end - begin
        own = np.empty(m, np.uint64)
        is_one = True
        for i in range(m):
            own[i] = hashes[keys[begin + i] & _LOW]
            is_one &= own[i] == own[0]
        if not is_one:
            order = np.argsort(own, kind="mergesort")
            part = keys[begin:end].copy()
            for i in range(m):
                keys[begin + i] = part[order[i]]
            own = own[order]
        at = begin
        for i in range(begin, end):
            x = keys[i] & _LOW
            arranged[i] = places[x]
            positions[x] = i
            if i > begin and own[i - begin] != own[i - begin - 1]:
                bucket_ends[at:i] = i
                at = i
        bucket_ends[at:end] = end
        begin = end


def make_buckets(hashes, places):
    """Return the places by hash, then place; each entry's position there; and the end of each position's bucket."""
    low = hashes.min()
    bits = max(int(hashes.max() - low).bit_length() - 32, 0)
    keys = ((hashes - low) >> U(bits)) << U(32)
    keys |= np.arange(len(hashes), dtype=np.uint64)
    keys.sort()
    arranged = np.empty(len(places), np.uint64)
    positions, bucket_ends = np.empty(len(places), np.uint32), np.empty(len(places), np.uint32)
    _arrange(keys, hashes, places, arranged, positions, bucket_ends)
    return arranged, positions, bucket_ends


@numba.njit(cache=True)
def _find_rising_run(values, n, chain, tails, links):
    """Write the indices of a longest strictly rising run of values[:n] into chain; return its length."""
    size = 0
    for i in range(n):
        low, high = 0, size
        while low < high:
            middle = (low + high) // 2
            if values[tails[middle]] < values[i]:
                low = middle + 1
            else:
                high = middle
        links[i] = tails[low - 1] if low else -1
        tails[low] = i
        size = max(size, low + 1)
    at = tails[size - 1] if size else -1
    for x in range(size - 1, -1, -1):
        chain[x] = at
        at = links[at]
    return size


@numba.njit(cache=True)
def _find_band(diagonals, width):
    """Return the first and last diagonal of the band of most hits, and how many it has; sorts the diagonals."""
    diagonals.sort()
    low, best, best_low = 0, 0, 0
    for high in range(len(diagonals)):
        while diagonals[high] - diagonals[low] > width:
            low += 1
        if high - low + 1 > best:
            best, best_low = high - low + 1, low
    return diagonals[best_low], diagonals[best_low + best - 1], best


@numba.njit(cache=True)
def _find(
    arranged, positions, bucket_ends, places, entry_begins, words, begins, lengths,
    k, neighbours, least_hits, least_overlap, limit, most_tip, free_edits, out, counts,
):  # fmt: skip
    count = 0
    size = 1 << 16
    pos_a, pos_b, keys = np.empty(size, np.int32), np.empty(size, np.int32), np.empty(size, np.int64)
    longest = 0
    for r in range(len(lengths)):
        longest = max(longest, lengths[r])
    xs, ys = np.zeros(longest // 32 + 3, np.uint64), np.zeros(longest // 32 + 3, np.uint64)
    blocks = longest // 64 + 2
    peq, pv, mv = np.empty((4, blocks), np.uint64), np.empty(blocks, np.uint64), np.empty(blocks, np.uint64)
    for r in range(len(lengths)):
        hits = 0
        for e in range(entry_begins[r], entry_begins[r + 1]):
            at = np.int64(positions[e])
            mine = places[e]
            for other in range(at + 1, min(np.int64(bucket_ends[at]), at + 1 + neighbours)):
                theirs = arranged[other]
                j = np.int64(theirs >> U(32))
                if j == r:
                    continue
                if hits == size:
                    pos_a = np.concatenate((pos_a, np.empty(size, np.int32)))
                    pos_b = np.concatenate((pos_b, np.empty(size, np.int32)))
                    keys = np.concatenate((keys, np.empty(size, np.int64)))
                    size *= 2
                is_reversed = np.int64((mine ^ theirs) & U(1))
                pb = np.int32((theirs & _LOW) >> U(1))
                if is_reversed:
                    pb = np.int32(lengths[j] - k - pb)
                pos_a[hits] = np.int32((mine & _LOW) >> U(1))
                pos_b[hits] = pb
                keys[hits] = (((j << 1) | is_reversed) << 24) | hits
                hits += 1
        counts[0] += hits
        if hits < least_hits:
            continue
        is_oriented = False
        order = np.sort(keys[:hits])
        diagonals, qa, qb = np.empty(hits, np.int64), np.empty(hits, np.int64), np.empty(hits, np.int64)
        chain, tails, links = np.empty(hits, np.int64), np.empty(hits, np.int64), np.empty(hits, np.int64)
        end = 0
        while end < hits:
            begin = end
            key = order[begin] >> 24
            while end < hits and order[end] >> 24 == key:
                end += 1
            m = end - begin
            if m < least_hits:
                continue
            j, is_reversed = key >> 1, key & 1
            for h in range(m):
                x = order[begin + h] & 0xFFFFFF
                diagonals[h] = np.int64(pos_a[x]) - pos_b[x]
            width = 60 + min(lengths[r], lengths[j]) // 50
            first, last, inside = _find_band(diagonals[:m], width)
            if inside < least_hits:
                continue
            inside = 0
            for h in range(m):
                x = order[begin + h] & 0xFFFFFF
                pa, pb = np.int64(pos_a[x]), np.int64(pos_b[x])
                if first <= pa - pb <= last and not (inside and pa == qa[inside - 1]):
                    qa[inside], qb[inside] = pa, pb
                    inside += 1
            inside = _find_rising_run(qb, inside, chain, tails, links)
            if inside < least_hits:
                continue
            a0, b0 = qa[chain[0]], qb[chain[0]]
            a1, b1 = qa[chain[inside - 1]] + k, qb[chain[inside - 1]] + k
            # What reaches the ends of neither read is a repeat or a relative.
            left, right = min(a0, b0), min(lengths[r] - a1, lengths[j] - b1)
            stretch = max(a1 - a0, b1 - b0)
            whole = stretch + left + right
            if whole < least_overlap or 2 * (left + right) > whole or max(left, right) > most_tip:
                counts[1] += 1
                continue
            if not is_oriented:
                orient(words, begins[r], lengths[r], 0, xs)
                is_oriented = True
            orient(words, begins[j], lengths[j], is_reversed, ys)
            counts[2] += 1
            most = np.int64(limit * stretch) + 1
            edits = 0
            ea, eb = a0 + k, b0 + k
            for h in range(1, inside):
                pa, pb = qa[chain[h]], qb[chain[h]]
                if pa >= ea and pb >= eb:
                    edits += count_edits(xs, ea, pa - ea, ys, eb, pb - eb, peq, pv, mv)
                    if edits > most:
                        break
                elif pa - ea != pb - eb:
                    if h < inside - 1:
                        continue  # overlaps the last anchor on another diagonal
                    edits += abs(pa - ea - pb + eb)
                ea, eb = pa + k, pb + k
            if edits > most:
                counts[3] += 1
                continue
            # The tips, up to the first read's end: where genomes part, every other base differs.
            reaches = True
            if left:
                wrong = count_edits(xs, a0 - left, left, ys, b0 - left, left, peq, pv, mv)
                reaches &= 2 * (wrong - free_edits) * stretch <= left * (edits + 0.45 * stretch)
            if right:
                wrong = count_edits(xs, a1, right, ys, b1, right, peq, pv, mv)
                reaches &= 2 * (wrong - free_edits) * stretch <= right * (edits + 0.45 * stretch)
            if not reaches:
                counts[4] += 1
                continue
            if count > 0 and out[count - 1, A] == r and out[count - 1, B] == j:  # on the other strand, too
                if out[count - 1, HITS] >= inside:
                    continue
                count -= 1
            if count == len(out):
                out = np.concatenate((out, np.empty_like(out)))
            out[count, A], out[count, B], out[count, REVERSED] = r, j, is_reversed
            out[count, HITS], out[count, EDITS] = inside, edits
            out[count, A0], out[count, A1], out[count, B0], out[count, B1] = a0, a1, b0, b1
            count += 1
    return out[:count].copy()


def find_overlaps(
    words, begins, lengths, k, density, neighbours=40, least_hits=4, least=500, limit=0.3, most_tip=600, free_edits=30
):
    """Return the overlaps of all reads, (overlaps, 9) int32, and what was counted on the way.

    Shared k-mers on one band of diagonals, in rising order, are anchors; between them edits are counted base by base.

    Args:
        words, begins, lengths: of `packing.pack_reads`.
        k, density: of the k-mers that may be anchors.
        neighbours: how many entries of its bucket each entry meets.
        least_hits: anchors that an overlap has at least.
        least: shortest overlap, in bases.
        limit: edits a base beyond which an overlap is not looked at further.
        most_tip: bases beyond the last anchor, up to a read's end, that are compared at most.
        free_edits: what may differ there, as adapters do.

    Returns:
        The overlaps, and counts: k-mers, hits, dropped by geometry, aligned, too far, parting before the end.
    """
    hashes, places, entry_begins = sketch_fraction(words, begins, lengths, k, density)
    buckets = make_buckets(hashes, places)
    counts = np.zeros(5, np.int64)
    overlaps = _find(
        *buckets, places, entry_begins, words, begins, lengths,
        k, neighbours, least_hits, least, limit, most_tip, free_edits, np.empty((1 << 16, 9), np.int32), counts,
    )  # fmt: skip
    return overlaps, (len(hashes), *counts.tolist())


def measure(overlaps, lengths):
    """Return length (tips included), divergence and its standard error of each overlap."""
    length_a, length_b = lengths[overlaps[:, A]].astype(np.int64), lengths[overlaps[:, B]].astype(np.int64)
    a0, a1, b0, b1 = (overlaps[:, column].astype(np.int64) for column in (A0, A1, B0, B1))
    stretch = np.maximum(a1 - a0, b1 - b0)
    edits = overlaps[:, EDITS]
    whole = stretch + np.minimum(a0, b0) + np.minimum(length_a - a1, length_b - b1)
    return whole, edits / stretch, np.sqrt(np.maximum(edits, 1)) / stretch


def classify(overlaps, lengths):
    """Return 0 where a begins before b (as oriented), 1 where b does, 2 where a lies in b, 3 where b lies in a."""
    length_a, length_b = lengths[overlaps[:, A]].astype(np.int64), lengths[overlaps[:, B]].astype(np.int64)
    a0, a1, b0, b1 = (overlaps[:, column].astype(np.int64) for column in (A0, A1, B0, B1))
    a_in = (a0 <= b0) & (length_a - a1 <= length_b - b1)
    b_in = (b0 <= a0) & (length_b - b1 <= length_a - a1)
    kind = np.where(a0 > b0, 0, 1)
    kind = np.where(a_in & ~b_in, 2, kind)
    return np.where(b_in, 3, kind)  # of two equal ones the lower holds the higher


def estimate_errors(overlaps, length, divergence, sigma, n, rounds=4, share=1 / 6, cap=2.0):
    """Return each of n reads' error rate, and the sample's.

    An overlap's divergence is the errors of both reads, or more where two genomes only resemble. So a read's rate is
    read off the sixth of its overlaps that differ least, corrected for what chance takes off there; where few speak,
    the sample's rate weighs in.
    """
    use = (length >= 1000) & (divergence < 0.4)
    a, b = overlaps[use, A], overlaps[use, B]
    reads, others = np.concatenate([a, b]), np.concatenate([b, a])
    both, spread_of_both = np.tile(divergence[use], 2), np.tile(sigma[use], 2)
    counts = np.bincount(reads, minlength=n)
    has, begins = counts > 0, np.cumsum(counts) - counts
    rank = np.maximum(share * (counts[has] + 1), 1)
    at = begins[has] + np.floor(rank).astype(np.int64) - 1
    z = -norm.ppf(np.clip(rank / (counts[has] + 1), 1e-3, 0.5))
    weight = counts / (counts + 2)
    own = both / 2
    for turn in range(rounds + 1):
        order = np.lexsort([own, reads])
        found = np.zeros(n)
        found[has] = own[order][at] + z * spread_of_both[order][at] * (1 if turn else 0.5)
        sample = np.median(found[has])
        rates = np.where(has, weight * found + (1 - weight) * sample, sample)
        # Relatives only push upwards: the spread below the median is the reads' own, and bounds what lies above.
        is_deep = counts >= 6
        spread = sample - np.percentile(rates[is_deep], 16) if is_deep.sum() > 100 else 0.2 * sample
        rates = np.clip(rates, 0, sample + cap * spread)
        own = both - rates[others]
    return rates, sample


def correct_for_coincidence(rate):
    """Return the error rate of reads where errors of both that coincide are counted once; fitted at 5 and 10 %."""
    return rate * (1 + 0.95 * 2 * rate)


@numba.njit(cache=True)
def _choose_container(inner, outer, score, best, best_score):
    for i in range(len(inner)):
        x = inner[i]
        if score[i] > best_score[x] or (score[i] == best_score[x] and outer[i] < best[x]):
            best[x], best_score[x] = outer[i], score[i]


@numba.njit(cache=True)
def _choose_best(end_a, end_b, score, best, best_score):
    for i in range(len(end_a)):
        for x, y in ((end_a[i], end_b[i]), (end_b[i], end_a[i])):
            if score[i] > best_score[x] or (score[i] == best_score[x] and y < best[x]):
                best[x], best_score[x] = y, score[i]


@numba.njit(cache=True)
def _walk(best, is_contained):
    n = len(is_contained)
    chain = np.full(n, -1, np.int64)
    chains = 0
    for turn in range(2):  # first from the open ends, then round the circles
        for r in range(n):
            if chain[r] >= 0 or is_contained[r]:
                continue
            has_left = best[2 * r] >= 0 and best[best[2 * r]] == 2 * r
            has_right = best[2 * r + 1] >= 0 and best[best[2 * r + 1]] == 2 * r + 1
            if turn == 0 and has_left and has_right:
                continue
            e = 2 * r + 1 if has_right or not has_left else 2 * r
            while True:
                chain[e >> 1] = chains
                q = best[e]
                if q < 0 or best[q] != e or chain[q >> 1] >= 0:
                    break
                e = q ^ 1
            chains += 1
    return chain


def make_chains(overlaps, lengths, z=2.5, least=500):
    """Return what chains are made of and the chains.

    An overlap counts where its divergence is at most both reads' error rates and z standard errors. The container of
    least divergence holds a read; of the rest, overlaps that are the longest at both ends make chains.

    Returns:
        A dict: length, divergence, is_kept (by overlap), is_mutual; rates, chain, container (by read); sample.
    """
    n = len(lengths)
    length, divergence, sigma = measure(overlaps, lengths)
    kind = classify(overlaps, lengths)
    is_long = length >= least
    rates, sample = estimate_errors(overlaps, length, divergence, sigma, n)
    a, b, is_reversed = (overlaps[:, column].astype(np.int64) for column in (A, B, REVERSED))
    is_kept = is_long & (divergence <= rates[a] + rates[b] + z * sigma)
    inner, outer = np.where(kind == 2, a, b), np.where(kind == 2, b, a)
    # A container is longer, or as long and lower: no circles.
    is_longer = (lengths[outer] > lengths[inner]) | ((lengths[outer] == lengths[inner]) & (outer < inner))
    holds = is_kept & (kind >= 2) & is_longer
    score = (1e6 * (1 - divergence) - 5e5 * sigma).astype(np.int64)
    container = np.full(n, -1, np.int64)
    _choose_container(inner[holds], outer[holds], score[holds], container, np.full(n, -1, np.int64))
    is_contained = container >= 0
    root = np.where(is_contained, container, np.arange(n))
    while (root[root] != root).any():
        root = root[root]
    joins = is_kept & (kind < 2) & ~is_contained[a] & ~is_contained[b]
    end_a = np.where(kind == 0, 2 * a + 1, 2 * a)
    end_b = np.where(kind == 0, 2 * b + is_reversed, 2 * b + 1 - is_reversed)
    best = np.full(2 * n, -1, np.int64)
    _choose_best(end_a[joins], end_b[joins], length[joins], best, np.full(2 * n, -1, np.int64))
    return {
        "length": length,
        "divergence": divergence,
        "is_kept": is_kept,
        "is_mutual": joins & (best[end_a] == end_b) & (best[end_b] == end_a),
        "rates": rates,
        "sample": sample,
        "container": container,
        "chain": _walk(best, is_contained)[root],
    }
