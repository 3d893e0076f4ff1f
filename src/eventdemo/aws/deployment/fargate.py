"""Containers of the template: the API and each service as a Fargate service that scales."""

from collections.abc import Sequence
from typing import Any

from eventdemo.aws.deployment.cloudformation import (
    Properties,
    Resources,
    arn,
    logical_id,
    metric,
    ref,
    resource,
    sub,
)
from eventdemo.aws.deployment.data_plane import queue_id
from eventdemo.aws.deployment.hosting import (
    API,
    API_PORT,
    API_SECURITY,
    CLUSTER,
    ENVIRONMENT,
    EXECUTION,
    IMAGE,
    LISTENER,
    TARGETS,
    TOKEN,
    WORKERS_SECURITY,
    log_group_id,
    role_id,
)

#: The number of record batches waiting per instance above which another one is started.
BACKLOG_PER_TASK = 50

#: The load of the API's processors, in per cent, above which another instance is started.
CPU_PERCENT = 60

#: vCPU shares and MiB, in the pairs that Fargate has.
WORKER_SIZE, API_SIZE = ("256", "512"), ("512", "1024")

_READ_MODELS = "readmodels"
_DATA = {"SourceVolume": "data", "ContainerPath": "/data"}


def fargate(services: Sequence[str]) -> Resources:
    """Returns the containers, each with the condition under which it is made."""
    made = _api()
    for service in services:
        made |= _worker(service)
    return made


def _worker(service: str) -> Resources:
    command = ["work", service]
    task, running = logical_id(service, "task"), logical_id(service, "service")
    resources = {
        task: _task(service, WORKER_SIZE, [_container(service, service, command)], "Fargate"),
        running: _service(service, task, WORKERS_SECURITY, "Fargate"),
    }
    queue = {"QueueName": {"Fn::GetAtt": [queue_id(service), "QueueName"]}}
    instances = {"ClusterName": ref(CLUSTER), "ServiceName": {"Fn::GetAtt": [running, "Name"]}}
    waiting = metric(
        "waiting", "AWS/SQS", "ApproximateNumberOfMessagesVisible", queue, Stat="Average"
    )
    tasks = metric("tasks", "ECS/ContainerInsights", "RunningTaskCount", instances, Stat="Average")
    per_task = {"Id": "each", "Expression": "waiting / tasks", "ReturnData": True}
    backlog = {
        "CustomizedMetricSpecification": {"Metrics": [waiting, tasks, per_task]},
        "TargetValue": BACKLOG_PER_TASK,
    }
    return resources | _scaling(service, running, backlog, "Fargate")


def _api() -> Resources:
    token = {"Name": "EVENTDEMO_OPERATOR_TOKEN", "ValueFrom": ref(TOKEN)}
    serving = _container(API, API, ["serve", "--host", "0.0.0.0"])  # noqa: S104 - in a container
    projecting = _container(API, _READ_MODELS, ["work", _READ_MODELS])
    serving |= {"PortMappings": [{"ContainerPort": API_PORT}], "Secrets": [token]}
    containers = [made | {"MountPoints": [_DATA]} for made in (serving, projecting)]
    balanced = {
        "HealthCheckGracePeriodSeconds": 120,
        "LoadBalancers": [
            {"ContainerName": API, "ContainerPort": API_PORT, "TargetGroupArn": ref(TARGETS)}
        ],
    }
    cpu_load = {
        "PredefinedMetricSpecification": {
            "PredefinedMetricType": "ECSServiceAverageCPUUtilization"
        },
        "TargetValue": CPU_PERCENT,
    }
    secret = {"GenerateSecretString": {"PasswordLength": 40, "ExcludePunctuation": True}}
    return {
        TOKEN: resource(
            "SecretsManager::Secret",
            {"Description": "What the operator's calls carry as a bearer token", **secret},
            Condition="Api",
            UpdateReplacePolicy="Delete",
            DeletionPolicy="Delete",
        ),
        "ApiTask": _task(API, API_SIZE, containers, "Api", Volumes=[{"Name": "data"}]),
        "ApiService": {
            **_service(API, "ApiTask", API_SECURITY, "Api", **balanced),
            "DependsOn": [LISTENER],
        },
        **_scaling(API, "ApiService", cpu_load, "Api"),
    }


def _task(
    name: str,
    size: tuple[str, str],
    containers: Sequence[Properties],
    condition: str,
    **properties: object,
) -> dict[str, Any]:
    cpu, memory = size
    return resource(
        "ECS::TaskDefinition",
        {
            "RequiresCompatibilities": ["FARGATE"],
            "NetworkMode": "awsvpc",
            "Cpu": cpu,
            "Memory": memory,
            "ExecutionRoleArn": arn(role_id(EXECUTION)),
            "TaskRoleArn": arn(role_id(name)),
            "ContainerDefinitions": list(containers),
            **properties,
        },
        Condition=condition,
    )


def _container(logs: str, name: str, command: list[str]) -> dict[str, Any]:
    environment = {"AWS_REGION": "${AWS::Region}", **ENVIRONMENT}
    return {
        "Name": name,
        "Image": IMAGE,
        "Command": command,
        "Environment": [{"Name": k, "Value": sub(v)} for k, v in environment.items()],
        "StopTimeout": 30,
        "LogConfiguration": {
            "LogDriver": "awslogs",
            "Options": {
                "awslogs-group": ref(log_group_id(logs)),
                "awslogs-region": ref("AWS::Region"),
                "awslogs-stream-prefix": name,
            },
        },
    }


def _service(
    name: str, task: str, security_group: str, condition: str, **properties: object
) -> dict[str, Any]:
    network = {
        "AssignPublicIp": ref("PublicIp"),
        "SecurityGroups": [ref(security_group)],
        "Subnets": ref("Subnets"),
    }
    return resource(
        "ECS::Service",
        {
            "Cluster": ref(CLUSTER),
            "TaskDefinition": ref(task),
            "LaunchType": "FARGATE",
            "DesiredCount": 1,
            "DeploymentConfiguration": {
                "DeploymentCircuitBreaker": {"Enable": True, "Rollback": True}
            },
            "NetworkConfiguration": {"AwsvpcConfiguration": network},
            **properties,
        },
        Condition=condition,
    )


def _scaling(name: str, service: str, tracked: Properties, condition: str) -> Resources:
    target, scaling = logical_id(name, "scaling-target"), logical_id(name, "scaling")
    running = {"Fn::GetAtt": [service, "Name"]}
    dimension = {
        "ServiceNamespace": "ecs",
        "ScalableDimension": "ecs:service:DesiredCount",
        "ResourceId": {"Fn::Join": ["/", ["service", ref(CLUSTER), running]]},
    }
    return {
        target: resource(
            "ApplicationAutoScaling::ScalableTarget",
            {**dimension, "MinCapacity": 1, "MaxCapacity": ref("MostTasks")},
            Condition=condition,
        ),
        scaling: resource(
            "ApplicationAutoScaling::ScalingPolicy",
            {
                "PolicyName": name,
                "PolicyType": "TargetTrackingScaling",
                "ScalingTargetId": ref(target),
                "TargetTrackingScalingPolicyConfiguration": tracked,
            },
            Condition=condition,
        ),
    }
