"""The benchmark of 100 characters: pictures drawn from font files, split by groups of fonts; see __main__.py."""
