"""Push over HTTP: signed notes of SNS wake idle workers, which take their tasks from the queue."""
