"""Runs attempts of jobs: claim, monitor, report, finalize."""
