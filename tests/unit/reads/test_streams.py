"""Streams that remember where their lines begin."""

import io

from readclade.reads.streams import TrackedStream


def test_tracked_stream_forgets_what_lies_behind():
    stream = TrackedStream(io.BytesIO(b"@x\nA\n+\nI\n" * 10_000), "reads")
    for record in range(0, 10_000, 10):
        stream.read(90)  # ten records
        stream.forget_before(4 * record)
        assert len(stream._blocks) <= 3
