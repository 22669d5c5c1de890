"""Ray for a while: started on this machine or joined elsewhere, and its errors as those that the user can mend."""

import logging
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import ray

from readclade.errors import ConfigError, ReadcladeError

_log = logging.getLogger(__name__)

_LONGEST_FOLDER = 36

# What an actor on another node must know of the user's environment to find the same store. Secrets do not travel:
# Ray shows a job's environment to everybody who sees its dashboard, and nodes have a role of their own.
_SHARED_VARIABLES = (
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "READCLADE_S3_PATIENCE_S",
)


def get_shared_variables() -> dict[str, str]:
    """Return the part of the environment that workers on other nodes need: where S3 is, and no secret."""
    return {name: os.environ[name] for name in _SHARED_VARIABLES if name in os.environ}


@contextmanager
def running_ray(actors: int, address: str | None) -> Iterator[None]:
    """Start or join Ray for a block; what fails in it on Ray is raised as the error that the user can mend."""
    started = time.monotonic()
    try:
        _start_ray(actors, address)
        _log.info(f"Ray is ready after {time.monotonic() - started:.1f} s")
        yield
    except ray.exceptions.RayError as error:
        raise _get_cause(error) from None
    except ConnectionError as error:  # which names no file, and must not be taken for an error of the disk
        raise ReadcladeError(
            f"Ray does not answer: {error}",
            remedy="check that the cluster runs and can be reached, then run the command again: what was done is kept",
        ) from None
    finally:
        ray.shutdown()


def run_tasks(tasks: list[tuple[Callable, tuple, float]]) -> list:
    """Run functions side by side on Ray, each with its arguments and share of a GPU; return what they return."""
    running = [
        ray.remote(num_cpus=1, num_gpus=gpus)(function).remote(*arguments) for function, arguments, gpus in tasks
    ]
    return [ray.get(task) for task in running]  # in their order: a file that changed is told before what that broke


def _start_ray(actors: int, address: str | None) -> None:
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.raise_original_map_exception = True  # Ray Data's own wrapper loses its cause on the way to the driver
    # Our own lines of progress say what a person needs; what Ray Data logs with a traceback is raised, too.
    logging.getLogger("ray").setLevel(logging.ERROR)
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    if address is None:
        # Workers inherit the environment: they must find the library that runs here, however it came onto the path.
        paths = [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
        ray.init(
            address="local",  # else RAY_ADDRESS would decide
            _temp_dir=_choose_folder(),
            num_cpus=actors,
            include_dashboard=False,
            object_store_memory=100 * 2**20,  # shards do not pass through it: nearly the smallest will do
            logging_level=logging.ERROR,
        )
    else:
        # A submitted job has brought both with it, and Ray refuses to be told twice.
        is_job = "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ
        package = {"py_modules": [str(Path(__file__).parents[1])], "env_vars": get_shared_variables()}
        ray.init(address=address, runtime_env=None if is_job else package, logging_level=logging.ERROR)


def _choose_folder() -> str:
    """Return a folder for Ray's sockets, whose paths may have 107 letters, of which Ray's own part takes some 65.

    Raises:
        ConfigError: there is none.
    """
    for folder in (os.environ.get("RAY_TMPDIR"), tempfile.gettempdir(), "/tmp", "/var/tmp"):
        if folder and len(folder) <= _LONGEST_FOLDER and os.access(folder, os.W_OK):
            return os.path.join(folder, "ray")
    raise ConfigError(
        f"the folder for temporary files, {tempfile.gettempdir()}, has a path of more than {_LONGEST_FOLDER} letters, "
        "too long for Ray's sockets, and neither /tmp nor /var/tmp may be written",
        remedy="set TMPDIR to a shorter path",
    )


def _get_cause(error: BaseException) -> BaseException:
    """Return the error that the user can mend from under Ray's wrappers, or the error itself."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ReadcladeError) and not isinstance(cause, ray.exceptions.RayError):
            return cause
        cause = getattr(cause, "cause", None) or cause.__cause__
    return error
