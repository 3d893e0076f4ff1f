"""Runs the suites against the account that the SDK finds: ``python -m tests.emulators.account``.

Each test removes what it made. What a test that was killed left behind is looked for in the end:
everything of one run is called by the same random name.
"""

import os
import secrets
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence

from botocore.exceptions import BotoCoreError, ClientError

from tests.emulators.engine import PREFIX, RUN
from tests.emulators.servers import ASKED_FOR_ACCOUNT, Aws, account

#: What pytest is called with, one after the other: the suites of every adapter, then the flow.
SUITES = (
    ("tests/conformance", "tests/flow", "-k", "aws-emulated"),
    ("tests/aws",),
)


def main(more: Sequence[str]) -> int:
    try:
        aws = account()
    except (BotoCoreError, ClientError) as error:
        reason = " ".join(str(error).split())
        return _say(
            f"no AWS account to test on ({reason}): set AWS_PROFILE, or AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY, and AWS_REGION"
        )
    run = f"{secrets.token_hex(2)}-"
    _say(f"testing on account {aws.account} in {aws.region}, under {PREFIX}{run}…")
    environment = {**os.environ, ASKED_FOR_ACCOUNT: "account", RUN: run}
    try:
        return max(_pytest([*suite, *more], environment) for suite in SUITES)
    except KeyboardInterrupt:
        return _say("interrupted")
    finally:
        left = list(removed(aws, f"{PREFIX}{run}"))
        _say(f"removed what was left: {', '.join(left)}" if left else "nothing is left")


def _pytest(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    return subprocess.call((sys.executable, "-m", "pytest", *arguments), env=dict(environment))


def removed(aws: Aws, prefix: str) -> Iterator[str]:
    """Removes all tables, topics and queues whose names begin so."""
    dynamodb, sns, sqs = map(aws.client, ("dynamodb", "sns", "sqs"))
    for page in dynamodb.get_paginator("list_tables").paginate():
        for table in page["TableNames"]:
            if table.startswith(prefix):
                dynamodb.delete_table(TableName=table)
                yield table
    for page in sns.get_paginator("list_topics").paginate():
        for topic in page["Topics"]:
            if topic["TopicArn"].rpartition(":")[2].startswith(prefix):
                sns.delete_topic(TopicArn=topic["TopicArn"])
                yield topic["TopicArn"]
    queues = sqs.get_paginator("list_queues").paginate(QueueNamePrefix=prefix)
    for page in queues:
        for url in page.get("QueueUrls", []):
            sqs.delete_queue(QueueUrl=url)
            yield url


def _say(line: str) -> int:
    sys.stderr.write(f"{line}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
