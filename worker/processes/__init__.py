"""The trainer's process tree: started, supervised, logged, ended."""
