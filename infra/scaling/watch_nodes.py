"""Count the Ray cluster's nodes, and end workers whose head is gone. A function of AWS Lambda, which holds this file.

Ray's head ends idle workers. Where the head itself is gone, nobody does, and they stay on the bill. A schedule calls
this to count; the alarm on the counts calls it to end them, once no head has been there for as long as the alarm waits.
"""

import os

import boto3

# A head that somebody has stopped ends no worker either.
ALIVE = ["pending", "running"]


def list_nodes(ec2, cluster):
    """Return the ids of the cluster's nodes that run, by Ray's kinds: head and worker."""
    filters = [{"Name": "tag:ray-cluster-name", "Values": [cluster]}, {"Name": "instance-state-name", "Values": ALIVE}]
    nodes = {"head": [], "worker": []}
    for page in ec2.get_paginator("describe_instances").paginate(Filters=filters):
        for instance in (entry for reservation in page["Reservations"] for entry in reservation["Instances"]):
            tags = {tag["Key"]: tag["Value"] for tag in instance["Tags"]}
            nodes.setdefault(tags.get("ray-node-type", "unknown"), []).append(instance["InstanceId"])
    return nodes


def handler(event, context):
    """Count the nodes; where an alarm calls, end the workers if there is still no head."""
    cluster, namespace = os.environ["CLUSTER"], os.environ["NAMESPACE"]
    ec2 = boto3.client("ec2")
    nodes = list_nodes(ec2, cluster)
    workers = nodes["worker"]
    headless = [] if nodes["head"] else workers
    if "Records" in event:
        if headless:
            ec2.terminate_instances(InstanceIds=headless)
        print(f"ended {len(headless)} workers without a head: {' '.join(headless)}")
        return {"ended": headless}
    counts = {"Heads": len(nodes["head"]), "Workers": len(workers), "HeadlessWorkers": len(headless)}
    boto3.client("cloudwatch").put_metric_data(
        Namespace=namespace, MetricData=[{"MetricName": name, "Value": value} for name, value in counts.items()]
    )
    return counts
