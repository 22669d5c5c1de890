"""Check a cluster's configuration by ParallelCluster's own code, as far as that asks nothing of AWS.

Example:
    .venv-pcluster/bin/python tests/infra/check_cluster.py < configuration.json

Reads the configuration as JSON and prints what is wrong with it, one complaint a line. Given `--lustre`, reads
pairs of a deployment type and a size of FSx for Lustre instead.
"""

import json
import os
import sys

from marshmallow import ValidationError
from pcluster.schemas.cluster_schema import ClusterSchema
from pcluster.validators.cluster_validators import (
    NameValidator,
    OverlappingMountDirValidator,
    SharedStorageMountDirValidator,
    SharedStorageNameValidator,
)
from pcluster.validators.fsx_validators import FsxStorageCapacityValidator
from pcluster.validators.slurm_settings_validator import (
    SLURM_SETTINGS_DENY_LIST,
    CustomSlurmSettingLevel,
    CustomSlurmSettingsValidator,
)

os.environ["AWS_DEFAULT_REGION"] = "us-east-2"  # only asked for its name


def check_cluster(configuration: dict) -> list[str]:
    """Return the complaints of the schema and, where it has none, of the validators that need no account."""
    try:
        cluster = ClusterSchema(cluster_name="readclade-slurm").load(configuration)
    except ValidationError as error:
        return [f"schema: {error.messages}"]
    checks = [
        (
            CustomSlurmSettingsValidator,
            {
                "custom_settings": cluster.scheduling.settings.custom_slurm_settings or [],
                "deny_list": SLURM_SETTINGS_DENY_LIST["SlurmConf"]["Global"],
                "settings_level": CustomSlurmSettingLevel.SLURM_CONF,
            },
        ),
        (
            OverlappingMountDirValidator,
            {
                "shared_mount_dir_list": [storage.mount_dir for storage in cluster.shared_storage],
                "local_mount_dir_list": ["/scratch", "/home"],
            },
        ),
    ]
    for storage in cluster.shared_storage:
        checks += [
            (SharedStorageNameValidator, {"name": storage.name}),
            (SharedStorageMountDirValidator, {"mount_dir": storage.mount_dir}),
        ]
    for queue in cluster.scheduling.queues:
        checks += [(NameValidator, {"name": entry.name}) for entry in [queue, *queue.compute_resources]]
    return [failure.message for validator, values in checks for failure in validator().execute(**values)]


def check_lustre(deployment: str, capacity: int) -> list[str]:
    """Return the complaints about a size of a file system."""
    unused = dict.fromkeys(("fsx_storage_type", "per_unit_storage_throughput", "file_system_id", "backup_id"))
    values = {**unused, "storage_capacity": capacity, "deployment_type": deployment}
    return [failure.message for failure in FsxStorageCapacityValidator().execute(**values)]


if __name__ == "__main__":
    given = json.load(sys.stdin)
    complaints = (
        [text for pair in given for text in check_lustre(*pair)] if "--lustre" in sys.argv else check_cluster(given)
    )
    print("\n".join(complaints))
