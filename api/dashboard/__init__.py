"""The dashboard at `/`: pages that show what the routes under `/v1` answer, from the same services.

`door` lets browsers in and loads the rest with the first of them; `site` puts the pages together.
"""
