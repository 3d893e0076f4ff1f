"""The load tests of ``loadtest/`` run for real, against a system and against a shop that lies."""
