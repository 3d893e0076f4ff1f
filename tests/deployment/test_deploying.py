"""The ways of the template to CloudFormation, and the error where a library is missing."""

import os
import subprocess
import sys
from typing import Any

import pytest

from eventdemo.cli.aws import MAX_BODY_BYTES, template_argument
from eventdemo.errors import Misconfigured

pytestmark = pytest.mark.anyio


class Bucket:
    """S3, as far as a template needs it."""

    def __init__(self, region: str | None) -> None:
        self._region = region
        self.put: dict[str, Any] = {}

    async def __call__(self, service: str, operation: str, **arguments: Any) -> Any:
        if operation == "put_object":
            self.put = arguments
        return {"LocationConstraint": self._region}


async def test_a_short_template_is_sent_as_it_is() -> None:
    assert await template_argument(Bucket(None), "shop", "{}", None) == {"TemplateBody": "{}"}  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("region", "host"),
    [
        (None, "mine.s3.us-east-1.amazonaws.com"),
        ("eu-central-1", "mine.s3.eu-central-1.amazonaws.com"),
        ("cn-north-1", "mine.s3.cn-north-1.amazonaws.com.cn"),
    ],
)
async def test_a_long_template_goes_through_a_bucket(region: str | None, host: str) -> None:
    bucket, body = Bucket(region), "x" * (MAX_BODY_BYTES + 1)
    where = await template_argument(bucket, "shop", body, "mine")  # type: ignore[arg-type]
    assert bucket.put["Bucket"] == "mine"
    assert bucket.put["Body"] == body.encode()
    assert where == {"TemplateURL": f"https://{host}/{bucket.put['Key']}"}


async def test_without_a_bucket_a_long_template_is_refused_with_the_way_out() -> None:
    with pytest.raises(Misconfigured, match="--bucket"):
        await template_argument(Bucket(None), "shop", "x" * (MAX_BODY_BYTES + 1), None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "arguments", [["aws", "status"], ["serve", "--event-pool", "dynamodb://shop-events"]]
)
def test_where_the_library_lacks_one_line_says_how_to_install_it(arguments: list[str]) -> None:
    without = (
        "import sys; sys.modules |= dict.fromkeys(('aiobotocore', 'botocore')); "
        "from eventdemo.cli import main; main()"
    )
    ran = subprocess.run(
        [sys.executable, "-c", without, *arguments],
        env={**os.environ, "EVENTDEMO_DATA": "data"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 2
    assert ran.stderr.count("\n") == 1
    assert "make aws" in ran.stderr
    assert "pip install 'eventdemo[aws]'" in ran.stderr
