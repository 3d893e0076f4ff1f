"""The engine on AWS: event pool and session cache on DynamoDB, queue and topics on SQS and SNS."""
