"""SQS and SNS: the task queue and the topics."""
