"""One execution of a job's trainer after the other: claimed, watched, told, closed."""
