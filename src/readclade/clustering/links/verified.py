"""Overlaps of long reads whose bases were compared: where they lie in both reads, and how much they differ."""

from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np

STEPS = 1_000_000  # rates are whole numbers of millionths: the same on any number of ranks

# How an overlap lies: a begins first (as both are oriented), or b does; a lies within b, or b within a.
A_FIRST, B_FIRST, A_WITHIN, B_WITHIN = range(4)


@dataclass(frozen=True)
class Verified:
    """Overlaps that this rank holds, by a, then b. What b is, is told of it as oriented, reversed or not.

    Attributes:
        a, b: (p,) int64 reads, a < b.
        is_reversed: (p,) bool, whether b is.
        a_begin, a_end, b_begin, b_end: (p,) int32, the stretch between the outermost anchors.
        a_length, b_length: (p,) int32 bases of the reads.
        edits: (p,) int32 within the stretch.
    """

    a: np.ndarray
    b: np.ndarray
    is_reversed: np.ndarray
    a_begin: np.ndarray
    a_end: np.ndarray
    b_begin: np.ndarray
    b_end: np.ndarray
    a_length: np.ndarray
    b_length: np.ndarray
    edits: np.ndarray

    def __len__(self) -> int:
        return len(self.a)

    @cached_property
    def stretches(self) -> np.ndarray:
        """(p,) int32 bases of the longer of both stretches."""
        return np.maximum(self.a_end - self.a_begin, self.b_end - self.b_begin)

    @cached_property
    def lengths(self) -> np.ndarray:
        """(p,) int64 bases of the overlaps, up to the first read's end on either side."""
        tips = np.minimum(self.a_begin, self.b_begin) + np.minimum(*self._rests)
        return self.stretches.astype(np.int64) + tips

    @cached_property
    def divergences(self) -> np.ndarray:
        """(p,) int64, edits a base in millionths."""
        return np.rint(STEPS * (self.edits / self.stretches)).astype(np.int64)

    @cached_property
    def deviations(self) -> np.ndarray:
        """(p,) int64, the standard errors of the divergences."""
        return np.rint(STEPS * (np.sqrt(np.maximum(self.edits, 1)) / self.stretches)).astype(np.int64)

    @property
    def _rests(self) -> tuple[np.ndarray, np.ndarray]:
        return self.a_length - self.a_end, self.b_length - self.b_end

    def take(self, rows: np.ndarray) -> "Verified":
        """Return some of the overlaps."""
        return Verified(*(getattr(self, field.name)[rows] for field in fields(Verified)))

    def classify(self) -> np.ndarray:
        """Return (p,) A_FIRST, B_FIRST, A_WITHIN or B_WITHIN; of two equal reads the lower holds the higher."""
        rest_a, rest_b = self._rests
        is_a_within = (self.a_begin <= self.b_begin) & (rest_a <= rest_b)
        is_b_within = (self.b_begin <= self.a_begin) & (rest_b <= rest_a)
        kinds = np.where(self.a_begin > self.b_begin, A_FIRST, B_FIRST)
        kinds = np.where(is_a_within & ~is_b_within, A_WITHIN, kinds)
        return np.where(is_b_within, np.where(is_a_within & (self.a_length < self.b_length), A_WITHIN, B_WITHIN), kinds)

    def get_offsets(self) -> np.ndarray:
        """Return (p,) int64: of a within b, where a begins in b as b runs; of others, where b begins in a."""
        left = self.b_begin.astype(np.int64) - self.a_begin
        right = self.b_length.astype(np.int64) - self.b_end - (self.a_length - self.a_end)
        return np.where(self.classify() == A_WITHIN, np.where(self.is_reversed, right, left), -left)


def join_verified(parts: list[Verified]) -> Verified:
    """Return the overlaps of several parts, in their order."""
    kinds = [np.int64, np.int64, np.bool_, *[np.int32] * 7]
    columns = zip(fields(Verified), kinds, strict=True)
    return Verified(
        *(
            np.concatenate([np.zeros(0, kind), *(getattr(part, field.name) for part in parts)])
            for field, kind in columns
        )
    )
