"""The parts that all containers and functions share: image, settings, logs, roles, network."""

from collections.abc import Sequence
from typing import Any

from eventdemo.aws.deployment.cloudformation import (
    NOTHING,
    PREFIX,
    Properties,
    Resources,
    allow,
    arn,
    either,
    logical_id,
    policy,
    ref,
    resource,
    sub,
)
from eventdemo.engines.aws.names import Names

NAMES = Names(PREFIX)

LOGS_KEPT_DAYS = 30

#: The image, in the registry of the account, as Lambda requires.
REGISTRY = "${AWS::AccountId}.dkr.ecr.${AWS::Region}.${AWS::URLSuffix}"
IMAGE = sub(REGISTRY + "/${Image}")

#: The three settings of a deployment on AWS.
ENVIRONMENT = {
    "EVENTDEMO_EVENT_POOL": f"dynamodb://{NAMES.events}",
    "EVENTDEMO_TOPICS": f"aws://{PREFIX}",
    "EVENTDEMO_SESSION_CACHE": f"dynamodb://{NAMES.session}",
}

#: Assumes a worker's role: the service of AWS that runs it.
WORKERS_PRINCIPAL = either("Lambda", "lambda.amazonaws.com", "ecs-tasks.amazonaws.com")

API, API_PORT = "api", 8000

CLUSTER, EXECUTION = "Cluster", "execution"

#: The secret that the operator's calls carry.
TOKEN = "OperatorToken"  # noqa: S105 - its name

BALANCER, TARGETS, LISTENER = "LoadBalancer", "ApiTargets", "ApiListener"
BALANCER_SECURITY, API_SECURITY = "BalancerSecurity", "ApiSecurity"
WORKERS_SECURITY = "WorkersSecurity"

#: A buyer's long-poll or stream may be silent for this long.
IDLE_TIMEOUT_S = 120

_PUBLIC_PORT = either("Https", 443, 80)


def log_group_id(name: str) -> str:
    return logical_id(name, "logs")


def log_group(name: str, condition: str) -> Resources:
    """Returns the log group of one service, or of the API."""
    made = resource(
        "Logs::LogGroup",
        {"LogGroupName": sub(f"/eventdemo/{PREFIX}/{name}"), "RetentionInDays": LOGS_KEPT_DAYS},
        Condition=condition,
        UpdateReplacePolicy="Delete",
        DeletionPolicy="Delete",
    )
    return {log_group_id(name): made}


def role_id(name: str) -> str:
    return logical_id(name, "role")


def role(name: str, principal: object, statements: Sequence[Any], condition: str) -> Resources:
    """Returns the role of one service, or of the API: the statements are all that it may do."""
    trust = {
        "Effect": "Allow",
        "Principal": {"Service": principal},
        "Action": ["sts:AssumeRole"],
    }
    made = resource(
        "IAM::Role",
        {
            "AssumeRolePolicyDocument": policy(trust),
            "Policies": [{"PolicyName": "flow", "PolicyDocument": policy(*statements)}],
        },
        Condition=condition,
    )
    return {role_id(name): made}


def may_log(*names: str) -> dict[str, Any]:
    """Returns the permission to log. The ARN of a log group ends in ``*``, for its streams."""
    return allow(
        ["logs:CreateLogStream", "logs:PutLogEvents"], [arn(log_group_id(name)) for name in names]
    )


def network(services: Sequence[str]) -> Resources:
    """Returns the cluster, the security groups and the load balancer."""
    return _cluster(services) | _security_groups() | _load_balancer()


def _cluster(services: Sequence[str]) -> Resources:
    repository = {"Fn::Select": [0, {"Fn::Split": [":", ref("Image")]}]}
    registry = "arn:${AWS::Partition}:ecr:${AWS::Region}:${AWS::AccountId}:repository/"
    statements = [
        allow(
            [
                "ecr:BatchCheckLayerAvailability",
                "ecr:BatchGetImage",
                "ecr:GetDownloadUrlForLayer",
            ],
            [{"Fn::Join": ["", [sub(registry), repository]]}],
        ),
        # The action takes no other resource: a login is for the whole registry.
        allow(["ecr:GetAuthorizationToken"], ["*"]),
        may_log(*services),
        either("Api", may_log(API), NOTHING),
        either("Api", allow(["secretsmanager:GetSecretValue"], [ref(TOKEN)]), NOTHING),
    ]
    # Container Insights count the running tasks, by which the waiting messages are divided.
    insights = [{"Name": "containerInsights", "Value": "enabled"}]
    return {
        CLUSTER: resource("ECS::Cluster", {"ClusterSettings": insights}, Condition="Containers"),
        **role(EXECUTION, "ecs-tasks.amazonaws.com", statements, "Containers"),
    }


def _security_groups() -> Resources:
    public = _ingress(_PUBLIC_PORT, CidrIp=ref("Clients"))
    behind = _ingress(API_PORT, SourceSecurityGroupId=ref(BALANCER_SECURITY))
    return {
        BALANCER_SECURITY: _security_group("Api", "Clients reach the load balancer", public),
        API_SECURITY: _security_group("Api", "The load balancer reaches the API", behind),
        WORKERS_SECURITY: _security_group("Fargate", "Nobody reaches a worker", {}),
    }


def _ingress(port: object, **source: object) -> dict[str, Any]:
    rule = {"IpProtocol": "tcp", "FromPort": port, "ToPort": port, **source}
    return {"SecurityGroupIngress": [rule]}


def _security_group(condition: str, description: str, ingress: Properties) -> dict[str, Any]:
    properties = {"VpcId": ref("VpcId"), "GroupDescription": description, **ingress}
    return resource("EC2::SecurityGroup", properties, Condition=condition)


def _load_balancer() -> Resources:
    idle = {"Key": "idle_timeout.timeout_seconds", "Value": str(IDLE_TIMEOUT_S)}
    drop = {"Key": "routing.http.drop_invalid_header_fields.enabled", "Value": "true"}
    return {
        BALANCER: resource(
            "ElasticLoadBalancingV2::LoadBalancer",
            {
                "Scheme": "internet-facing",
                "Subnets": ref("Subnets"),
                "SecurityGroups": [ref(BALANCER_SECURITY)],
                "LoadBalancerAttributes": [idle, drop],
            },
            Condition="Api",
        ),
        TARGETS: resource(
            "ElasticLoadBalancingV2::TargetGroup",
            {
                "TargetType": "ip",
                "Protocol": "HTTP",
                "Port": API_PORT,
                "VpcId": ref("VpcId"),
                "HealthCheckPath": "/health/live",
                "TargetGroupAttributes": [
                    {"Key": "deregistration_delay.timeout_seconds", "Value": "30"}
                ],
            },
            Condition="Api",
        ),
        LISTENER: resource(
            "ElasticLoadBalancingV2::Listener",
            {
                "LoadBalancerArn": ref(BALANCER),
                "Port": _PUBLIC_PORT,
                "Protocol": either("Https", "HTTPS", "HTTP"),
                "Certificates": either(
                    "Https", [{"CertificateArn": ref("CertificateArn")}], NOTHING
                ),
                "DefaultActions": [{"Type": "forward", "TargetGroupArn": ref(TARGETS)}],
            },
            Condition="Api",
        ),
    }
