"""Push over HTTP: signed wake-ups of SNS for idle workers, which take their tasks from the queue."""
