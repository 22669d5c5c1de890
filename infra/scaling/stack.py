"""Watch what the clusters' own autoscalers cannot: Ray workers whose head is gone, and nodes that nobody came back for.

Ray and Slurm start nodes for what is asked of them and end them when they idle; a second hand on that would only fight
them. Alarms here go to a topic; the one on workers without a head also has a function end them.
"""

from infra.ray.access import CLUSTER_TAG, ec2
from infra.storage.logs import add_log_group
from infra.template import Stack, Value, allow, get, policy, read_file, ref, sub, trust

NAMESPACE = "${Project}/Ray"
COUNT_MINUTES = 5
# `ray up` takes some minutes to put a new head in the place of an old one; its workers are not to be ended meanwhile.
HEADLESS_MINUTES = 30


def make_scaling(storage: Stack, ray: Stack) -> Stack:
    """Return the stack of alarms and the function behind them."""
    stack = Stack(
        "scaling", "readclade: alarms on the Ray cluster's nodes, and the function that ends those left behind"
    )
    stack.parameter(
        "Email",
        "Who is told of alarms, after a confirmation; empty: subscribe to the topic by other means.",
        Default="",
        AllowedPattern=r"|[^@\s]+@[^@\s]+",
    )
    stack.parameter(
        "BusyHours",
        "Hours for which there are workers without a break before somebody is told, 1 to 24.",
        Type="Number",
        Default=12,
        MinValue=1,
        MaxValue=24,
    )
    _add_topics(stack, storage)
    _add_function(stack, storage, ray)
    _add_alarms(stack)
    return stack


def _add_topics(stack: Stack, storage: Stack) -> None:
    """Add a topic for people, and one for the function, so that no other alarm can have nodes ended."""
    topics = {"Alarms": "for people", "Headless": "calls the function that ends workers without a head"}
    for name, text in topics.items():
        stack.resource(
            name, "AWS::SNS::Topic", {"KmsMasterKeyId": storage["KeyArn"], "DisplayName": f"readclade: {text}"[:100]}
        )
        own = {"StringEquals": {"aws:SourceAccount": ref("AWS::AccountId")}}
        publish = allow(["sns:Publish"], ref(name), Principal={"Service": "cloudwatch.amazonaws.com"}, Condition=own)
        stack.resource(
            f"{name}Policy", "AWS::SNS::TopicPolicy", {"Topics": [ref(name)], "PolicyDocument": policy(publish)}
        )
    stack.condition("WithEmail", {"Fn::Not": [{"Fn::Equals": [ref("Email"), ""]}]})
    stack.resource(
        "Mail",
        "AWS::SNS::Subscription",
        {"TopicArn": ref("Alarms"), "Protocol": "email", "Endpoint": ref("Email")},
        Condition="WithEmail",
    )
    stack.export("AlarmTopicArn", ref("Alarms"), Description="for further alarms, and further readers of these")


def _add_function(stack: Stack, storage: Stack, ray: Stack) -> None:
    """Add the function, which may look, count, and end workers of this cluster."""
    name = sub("${Project}-watch-nodes")
    add_log_group(stack, storage, "WatchLog", "/aws/lambda/${Project}-watch-nodes")
    by_lambda = {"StringEquals": {"kms:ViaService": sub("lambda.${AWS::Region}.${AWS::URLSuffix}")}}
    worker = {
        "StringEquals": {f"aws:ResourceTag/{CLUSTER_TAG}": ray["RayCluster"], "aws:ResourceTag/ray-node-type": "worker"}
    }
    statements: list[dict[str, Value]] = [
        allow(["ec2:DescribeInstances"], "*"),
        allow(["ec2:TerminateInstances"], ec2("instance"), Condition=worker),
        allow(["cloudwatch:PutMetricData"], "*", Condition={"StringEquals": {"cloudwatch:namespace": sub(NAMESPACE)}}),
        allow(["kms:Decrypt"], storage["KeyArn"], Condition=by_lambda),
        allow(["logs:CreateLogStream", "logs:PutLogEvents"], get("WatchLog", "Arn")),
    ]
    stack.resource(
        "WatchRole",
        "AWS::IAM::Role",
        {
            "AssumeRolePolicyDocument": trust("lambda.amazonaws.com"),
            "Policies": [{"PolicyName": "own", "PolicyDocument": policy(*statements)}],
        },
    )
    stack.resource(
        "Watch",
        "AWS::Lambda::Function",
        {
            "FunctionName": name,
            "Description": "counts the Ray cluster's nodes, and ends workers whose head is gone",
            "Runtime": "python3.13",
            "Handler": "index.handler",
            "Code": {"ZipFile": read_file("infra/scaling/watch_nodes.py")},
            "Role": get("WatchRole", "Arn"),
            "Timeout": 60,
            "MemorySize": 256,
            "ReservedConcurrentExecutions": 1,
            "KmsKeyArn": storage["KeyArn"],
            "Environment": {"Variables": {"CLUSTER": ray["RayCluster"], "NAMESPACE": sub(NAMESPACE)}},
            "LoggingConfig": {"LogGroup": ref("WatchLog")},
        },
    )
    stack.resource(
        "Schedule",
        "AWS::Events::Rule",
        {
            "Description": "count the Ray cluster's nodes",
            "ScheduleExpression": f"rate({COUNT_MINUTES} minutes)",
            "Targets": [{"Id": "watch", "Arn": get("Watch", "Arn")}],
        },
    )
    callers = {"Schedule": ("events", get("Schedule", "Arn")), "Headless": ("sns", ref("Headless"))}
    for caller, (service, arn) in callers.items():
        stack.resource(
            f"{caller}MayCall",
            "AWS::Lambda::Permission",
            {
                "Action": "lambda:InvokeFunction",
                "FunctionName": ref("Watch"),
                "Principal": f"{service}.amazonaws.com",
                "SourceArn": arn,
            },
        )
    stack.resource(
        "HeadlessCalls",
        "AWS::SNS::Subscription",
        {"TopicArn": ref("Headless"), "Protocol": "lambda", "Endpoint": get("Watch", "Arn")},
    )


def _add_alarms(stack: Stack) -> None:
    """Add the alarms; numbers that stop coming are an alarm of their own."""
    people = [ref("Alarms")]
    counted = {"Namespace": sub(NAMESPACE), "Statistic": "Minimum", "Threshold": 1}
    reached = {"ComparisonOperator": "GreaterThanOrEqualToThreshold", "TreatMissingData": "missing"}
    stack.resource(
        "HeadlessWorkersAlarm",
        "AWS::CloudWatch::Alarm",
        {
            "AlarmDescription": f"Ray workers run without a head for {HEADLESS_MINUTES} minutes now. They are ended.",
            **counted,
            **reached,
            "MetricName": "HeadlessWorkers",
            "Period": COUNT_MINUTES * 60,
            "EvaluationPeriods": HEADLESS_MINUTES // COUNT_MINUTES,
            "AlarmActions": [*people, ref("Headless")],
        },
    )
    stack.resource(
        "LongBusyAlarm",
        "AWS::CloudWatch::Alarm",
        {
            "AlarmDescription": "Ray workers have run for hours without a break. If no job is meant to, stop it.",
            **counted,
            **reached,
            "MetricName": "Workers",
            "Period": 3600,
            "EvaluationPeriods": ref("BusyHours"),
            "AlarmActions": people,
            "OKActions": people,
        },
    )
    stack.resource(
        "WatchFailsAlarm",
        "AWS::CloudWatch::Alarm",
        {
            "AlarmDescription": "What counts the Ray cluster's nodes fails, or is not called; see its log.",
            "Namespace": sub(NAMESPACE),
            "MetricName": "Workers",
            "Statistic": "SampleCount",
            "Threshold": 1,
            "ComparisonOperator": "LessThanThreshold",
            "TreatMissingData": "breaching",
            "Period": COUNT_MINUTES * 60,
            "EvaluationPeriods": 6,
            "AlarmActions": people,
            "OKActions": people,
        },
    )
