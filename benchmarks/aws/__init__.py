"""What the flow costs on AWS, and how far it goes: computed, not measured (docs/aws.md)."""
