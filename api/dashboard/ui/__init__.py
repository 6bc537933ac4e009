"""TODO api/dashboard/ui."""
