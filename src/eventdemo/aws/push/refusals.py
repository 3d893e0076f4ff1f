"""Why a request gets no 200. The reasons are for the operator's log: whoever asked learns none."""


class Refused(Exception):
    """It is not from SNS, not for us, too old or a repeat; it will never be taken."""


class Unavailable(Exception):
    """It can't be told at present: SNS may send it again."""
