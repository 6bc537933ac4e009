"""The process that exports runs to trackers and finished models to a hub."""
