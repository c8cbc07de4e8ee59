"""The running proxy: it builds a configuration, listens, keeps connections and observers, drains and reloads.

``workers`` runs it in several processes.
"""
