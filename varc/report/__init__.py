"""The pages of the report, as HTML that needs nothing else: no file beside it, no network."""
