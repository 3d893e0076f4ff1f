"""DynamoDB: the event pool and the session cache."""
