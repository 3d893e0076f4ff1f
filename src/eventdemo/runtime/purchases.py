"""How a purchase enters the flow."""

from eventdemo.flow import TASK_QUEUE_TOPIC
from eventdemo.ids import message_id
from eventdemo.ports import Message
from eventdemo.services.buy_request import BuyRequest, accept


def task_of(buy: BuyRequest, request_id: str, at_us: int) -> Message:
    """The message that a purchase enters the task queue as."""
    return Message(
        message_id(request_id, TASK_QUEUE_TOPIC.number),
        request_id,
        request_id,
        at_us,
        accept(buy, request_id),
    )
