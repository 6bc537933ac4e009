"""The dashboard in a real browser, on a real API and on the whole service."""
