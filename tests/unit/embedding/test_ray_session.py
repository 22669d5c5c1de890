"""What goes wrong between this process and Ray is told as what a person can mend."""

import pytest

from readclade.embedding.ray_session import running_ray
from readclade.errors import ReadcladeError


def test_running_ray_lost_connection_is_not_told_as_an_error_of_the_disk(lines):
    with pytest.raises(ReadcladeError, match="cut off") as caught, running_ray(1, None):
        raise ConnectionError("cut off")
    assert caught.value.message.startswith("Ray does not answer")
    assert "check that the cluster runs" in caught.value.remedy
    assert lines[0].startswith("Ray is ready")
