"""What a job is told to others with: trackers and model hubs."""
