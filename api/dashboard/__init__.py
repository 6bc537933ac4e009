"""The dashboard at `/`: web pages on the same services as the routes under `/v1`.

`door` authenticates browsers and loads the pages on first use. `site` assembles the pages.
"""
