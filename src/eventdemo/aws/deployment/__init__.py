"""The deployment on AWS: one CloudFormation template made from the flow, and its stack."""
