"""Finds all errors of a configuration file, with lines and cures; and warnings about file permissions.

Except for C{permissions}, these modules are loaded only when a configuration has an error.
"""
