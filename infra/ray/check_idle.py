"""Say whether any job of this Ray cluster has not ended; exit status 3 where one has not.

Example, on the head node, inside its container:
    /opt/venv/bin/python /opt/readclade/infra/ray/check_idle.py
"""

import sys

from ray.job_submission import JobSubmissionClient


def main() -> int:
    """Ask the dashboard, and return the exit status."""
    jobs = JobSubmissionClient("http://127.0.0.1:8265").list_jobs()
    running = [job for job in jobs if not job.status.is_terminal()]
    print(f"{len(running)} jobs have not ended" if running else "idle")
    return 3 if running else 0


if __name__ == "__main__":
    sys.exit(main())
