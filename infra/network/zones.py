"""Say in which zones the machines of the Slurm cluster exist.

Zones are given by their ids, which mean the same place in every account; `us-east-2a` does not.
"""

# Hpc6a is the scarcest: few regions, and one zone in each. The file system stands in the same zone, and so do G4dn and
# R5, which exist in all zones of these regions. The second zone gives Ray's workers another chance at spare capacity.
# Source: `aws ec2 describe-instance-type-offerings --location-type availability-zone-id`, as recorded in moto 5.2.5
# (2026-11); tests/infra compares the two. Ask AWS again before the first deployment (docs/cloud.md says how).
ZONES = {
    "ap-southeast-1": {"Compute": "apse1-az1", "Second": "apse1-az2"},
    "eu-north-1": {"Compute": "eun1-az2", "Second": "eun1-az3"},
    "us-east-2": {"Compute": "use2-az2", "Second": "use2-az1"},
}
