"""The configuration, from TOML text to checked values.

``schema`` has the tables and keys as they are written, ``parser`` and the modules of single tables check them, ``model``
has the checked values. ``diagnostics`` finds all errors with their lines. ``describe``, ``warnings`` and ``dump`` show a
configuration in ``--check`` and ``/status``.
"""
