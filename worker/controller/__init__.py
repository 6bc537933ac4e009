"""The controller process: requeues lost jobs, validates files, recovers lost data, deletes old
data."""
