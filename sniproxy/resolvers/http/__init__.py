"""The ``http`` resolver: it asks a URL for the targets of a name."""
