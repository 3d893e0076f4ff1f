"""Where the notes of one SNS topic come from: its region's host, and its certificate's names."""

import re

from msgspec import Struct

from eventdemo.errors import Misconfigured

#: How a partition's services are called, as botocore has it.
_DNS_SUFFIXES = {
    "aws": "amazonaws.com",
    "aws-us-gov": "amazonaws.com",
    "aws-cn": "amazonaws.com.cn",
    "aws-eusc": "amazonaws.eu",
    "aws-iso": "c2s.ic.gov",
    "aws-iso-b": "sc2s.sgov.gov",
    "aws-iso-e": "cloud.adc-e.uk",
    "aws-iso-f": "csp.hci.ic.gov",
}

_TOPIC_ARN = re.compile(
    r"arn:(?P<partition>aws[a-z-]*):sns:(?P<region>[a-z]{2,4}(?:-[a-z]+)+-[0-9]+)"
    r":[0-9]{12}:[A-Za-z0-9_-]{1,256}"
)


class Origin(Struct, frozen=True):
    """The one topic whose notes are believed, and the addresses that go with it.

    ``certificates_at`` is what a SigningCertURL begins with, ``api_at`` what a SubscribeURL does;
    ``certificate_names`` are those of which a signing certificate has to bear one.
    """

    topic_arn: str
    certificates_at: str
    api_at: str
    certificate_names: frozenset[str]


def origin_of(topic_arn: str) -> Origin:
    """The origin of a topic in AWS. Raises ``Misconfigured`` for what is no ARN of one."""
    named = _TOPIC_ARN.fullmatch(topic_arn)
    suffix = named and _DNS_SUFFIXES.get(named["partition"])
    if not named or not suffix:
        raise Misconfigured(
            f"{topic_arn!r} is no ARN of a standard SNS topic, such as "
            "arn:aws:sns:eu-central-1:123456789012:shop-wake"
        )
    host = f"https://sns.{named['region']}.{suffix}"
    return Origin(topic_arn, host, host, frozenset(_names(named["region"], suffix)))


def _names(region: str, suffix: str) -> tuple[str, ...]:
    """The names of signing certificates differ by the age of a region. They are listed in AWS's
    own verifier, ``SnsHostProvider`` of the AWS SDK for Java 2."""
    # Both regions of GovCloud sign with one certificate.
    signs = "us-gov-west-1" if region.startswith("us-gov-") else region
    return (
        f"sns.{suffix}",
        f"sns.{region}.{suffix}",
        f"sns-signing.{region}.{suffix}",
        f"sns-{signs}.{suffix}",
    )
