"""Push over HTTP: signed wake-ups of SNS, after which idle workers look into their queues."""
