"""AWS on this machine, for tests: emulators in processes of their own, on loopback.

- **moto's server** is DynamoDB and all else. ``moto_app.py`` puts one lock around its DynamoDB
  requests, without which its transactions are not atomic; ``moto_tokens.py`` does a transaction
  repeated with its token once; ``moto_speed.py`` takes away what grows with the table and changes
  no answer.
- **LocalStack's core** is SQS and SNS, where ``make test`` found a Python that it runs on
  (``localstack_app.py``). Elsewhere moto plays these two as well.

``servers.py`` starts and ends them, ``deployments.py`` makes in them what the template describes.
The tests here say which behaviour of AWS the adapters rely on, on each emulator; ``lacks.py`` says
which of it each lacks, and what covers that.
"""
