"""The whole system on AWS: processes, as a user starts them, on a deployment of their own."""
