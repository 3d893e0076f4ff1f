"""What stands around the containers: cluster, load balancer, and who may reach whom."""

from collections.abc import Sequence

from eventdemo.aws.deployment.cloudformation import (
    NOTHING,
    Resources,
    allow,
    either,
    ref,
    resource,
    sub,
)
from eventdemo.aws.deployment.compute import may_log, role

API, API_PORT = "api", 8000

CLUSTER, EXECUTION = "Cluster", "execution"

#: The secret that the operator's calls carry.
TOKEN = "OperatorToken"  # noqa: S105 - its name

BALANCER, TARGETS, LISTENER = "LoadBalancer", "ApiTargets", "ApiListener"
BALANCER_SECURITY, API_SECURITY, WORKERS_SECURITY = (
    "BalancerSecurity",
    "ApiSecurity",
    "WorkersSecurity",
)

#: A buyer's long-poll or stream may be silent for as long.
IDLE_TIMEOUT_S = 120

_PUBLIC_PORT = either("Https", 443, 80)


def network(services: Sequence[str]) -> Resources:
    """What the containers of the API and of services share."""
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
        # Whoever signs in signs in to the whole registry: the action takes no other resource.
        allow(["ecr:GetAuthorizationToken"], ["*"]),
        may_log(*services),
        either("Api", may_log(API), NOTHING),
        either("Api", allow(["secretsmanager:GetSecretValue"], [ref(TOKEN)]), NOTHING),
    ]
    # Container Insights count the running tasks, and so tell how much waits for each.
    insights = [{"Name": "containerInsights", "Value": "enabled"}]
    return {
        CLUSTER: resource("ECS::Cluster", {"ClusterSettings": insights}, Condition="Containers"),
        **role(EXECUTION, "ecs-tasks.amazonaws.com", statements, "Containers"),
    }


def _security_groups() -> Resources:
    vpc = {"VpcId": ref("VpcId")}
    public = {"IpProtocol": "tcp", "FromPort": _PUBLIC_PORT, "ToPort": _PUBLIC_PORT}
    behind = {"IpProtocol": "tcp", "FromPort": API_PORT, "ToPort": API_PORT}
    return {
        BALANCER_SECURITY: resource(
            "EC2::SecurityGroup",
            {
                **vpc,
                "GroupDescription": "Clients reach the load balancer",
                "SecurityGroupIngress": [{**public, "CidrIp": ref("Clients")}],
            },
            Condition="Api",
        ),
        API_SECURITY: resource(
            "EC2::SecurityGroup",
            {
                **vpc,
                "GroupDescription": "The load balancer reaches the API",
                "SecurityGroupIngress": [
                    {**behind, "SourceSecurityGroupId": ref(BALANCER_SECURITY)}
                ],
            },
            Condition="Api",
        ),
        WORKERS_SECURITY: resource(
            "EC2::SecurityGroup",
            {**vpc, "GroupDescription": "Nobody reaches a worker"},
            Condition="Fargate",
        ),
    }


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
