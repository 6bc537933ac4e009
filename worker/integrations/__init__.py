"""The process that shows runs in trackers, and finished models on a hub."""
