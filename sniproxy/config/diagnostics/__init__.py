"""Errors of a configuration file: their lines, all of them, and what to write instead; and warnings about files.

But for those, nothing here is loaded before a configuration has an error.
"""
