"""Time left follows from the shares of the stages."""

import re

from readclade.clustering.ranks.progress import Progress, tell


def make(times: list[float]) -> Progress:
    clock = iter([0.0, *times])
    return Progress(lambda: next(clock))


def test_lines_tell_memory_and_time_left(lines):
    with make([10.0, 20.0, 80.0]) as progress:
        progress.begin(0.1)
        tell("begun")
        tell("read", 1)
        progress.begin(0.5)
        tell("half", 0.5)
        progress.begin(1)
        tell("end", 1)
    tell("alone")
    assert re.fullmatch(r"begun; \d+\.\d\d GB on rank 0", lines[0])
    assert lines[1].endswith("; about 1 min 30 s left")
    assert lines[2].endswith("; about 46.7 s left")  # 20 s for three tenths
    assert re.fullmatch(r"end; \d+\.\d\d GB on rank 0", lines[3])
    assert lines[4] == "alone"


def test_a_stage_that_an_earlier_run_did_is_no_measure_of_speed(lines):
    with make([10.0, 40.0]) as progress:
        progress.begin(0.1)
        tell("read", 1)
        progress.begin(0.7)
        progress.skip()
        progress.begin(0.9)
        tell("half", 0.5)
    assert lines[0].endswith("about 1 min 30 s left")
    assert lines[1].endswith("about 40.0 s left")  # 40 s for two tenths, two more to go
