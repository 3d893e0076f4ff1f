"""List prices and quotas of AWS, each in one place with where it comes from.

``checked`` says whether another page than the author's memory confirmed the figure on the date:
AWS's own pages of prices could not be read by a program.
"""

from msgspec import Struct

REGION = "us-east-1"
DATE = "2026-11-23"

MILLION = 1_000_000
HOURS_PER_MONTH = 730


class Figure(Struct, frozen=True):
    """One price in US dollars, or one quota."""

    value: float
    what: str
    source: str
    checked: bool


SQS_PAGE = "https://aws.amazon.com/sqs/pricing/"
SNS_PAGE = "https://aws.amazon.com/sns/pricing/"
DYNAMODB_PAGE = "https://aws.amazon.com/dynamodb/pricing/on-demand/"
FARGATE_PAGE = "https://aws.amazon.com/fargate/pricing/"
LAMBDA_PAGE = "https://aws.amazon.com/lambda/pricing/"

SQS_FIFO = Figure(0.50, "million requests to FIFO queues, of 64 KiB each", SQS_PAGE, True)
SQS_STANDARD = Figure(0.40, "million requests to standard queues, of 64 KiB each", SQS_PAGE, True)
SNS_PUBLISH = Figure(0.30, "million requests that publish to FIFO topics", SNS_PAGE, True)
SNS_PUBLISH_GB = Figure(0.017, "GB that is published to FIFO topics", SNS_PAGE, False)
SNS_DELIVERY = Figure(0.01, "million messages from FIFO topics to queues", SNS_PAGE, False)
SNS_DELIVERY_GB = Figure(0.001, "GB from FIFO topics to queues", SNS_PAGE, False)
WRITE_UNITS = Figure(0.625, "million write units on demand, of 1 KB each", DYNAMODB_PAGE, True)
READ_UNITS = Figure(0.125, "million read units on demand, of 4 KB each", DYNAMODB_PAGE, True)
STORAGE_GB = Figure(0.25, "GB of table and month, beyond the first 25", DYNAMODB_PAGE, False)
BACKUP_GB = Figure(0.20, "GB and month of point-in-time recovery", DYNAMODB_PAGE, False)
VCPU_HOUR = Figure(0.04048, "vCPU and hour of Fargate", FARGATE_PAGE, True)
GB_HOUR = Figure(0.004445, "GB of memory and hour of Fargate", FARGATE_PAGE, True)
LAMBDA_CALLS = Figure(0.20, "million calls of Lambda", LAMBDA_PAGE, False)
LAMBDA_GB_S = Figure(0.0000166667, "GB of memory and second of Lambda", LAMBDA_PAGE, False)
BALANCER_HOUR = Figure(
    0.0225, "hour of a load balancer", "https://aws.amazon.com/elasticloadbalancing/pricing/", False
)
ALARM_METRIC = Figure(
    0.10, "metric of an alarm and month", "https://aws.amazon.com/cloudwatch/pricing/", False
)
SECRET = Figure(0.40, "secret and month", "https://aws.amazon.com/secrets-manager/pricing/", False)

PRICES = (
    SQS_FIFO,
    SQS_STANDARD,
    SNS_PUBLISH,
    SNS_PUBLISH_GB,
    SNS_DELIVERY,
    SNS_DELIVERY_GB,
    WRITE_UNITS,
    READ_UNITS,
    STORAGE_GB,
    BACKUP_GB,
    VCPU_HOUR,
    GB_HOUR,
    LAMBDA_CALLS,
    LAMBDA_GB_S,
    BALANCER_HOUR,
    ALARM_METRIC,
    SECRET,
)

SQS_QUOTAS = "https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html"
SNS_QUOTAS = "https://docs.aws.amazon.com/general/latest/gr/sns.html"
DYNAMODB_QUOTAS = (
    "https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ServiceQuotas.html"
)
PARTITIONS_PAGE = (
    "https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/bp-partition-key-design.html"
)
TRANSACTIONS_PAGE = (
    "https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html"
)

SNS_MESSAGES = Figure(
    30_000, "messages per second to all FIFO topics of an account", SNS_QUOTAS, True
)
SNS_PER_GROUP = Figure(300, "messages per second of one group of a FIFO topic", SNS_QUOTAS, True)
SQS_CALLS = Figure(70_000, "calls per second of one kind to a fast FIFO queue", SQS_QUOTAS, True)
SQS_PER_PARTITION = Figure(
    300, "calls per second of one kind for one group of a FIFO queue", SQS_QUOTAS, True
)
PARTITION_WRITES = Figure(1_000, "write units per second of one partition", PARTITIONS_PAGE, True)
PARTITION_READS = Figure(3_000, "read units per second of one partition", PARTITIONS_PAGE, True)
TABLE_WRITES = Figure(
    40_000, "write units per second of a table on demand, by default", DYNAMODB_QUOTAS, False
)
TABLE_READS = Figure(
    40_000, "read units per second of a table on demand, by default", DYNAMODB_QUOTAS, False
)
TRANSACTION_ITEMS = Figure(100, "items in one transaction", TRANSACTIONS_PAGE, True)

QUOTAS = (
    SNS_MESSAGES,
    SNS_PER_GROUP,
    SQS_CALLS,
    SQS_PER_PARTITION,
    PARTITION_WRITES,
    PARTITION_READS,
    TABLE_WRITES,
    TABLE_READS,
    TRANSACTION_ITEMS,
)
