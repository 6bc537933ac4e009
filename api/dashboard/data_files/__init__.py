"""TODO api/dashboard/data_files."""
