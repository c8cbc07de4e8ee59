"""The running proxy: builds a configuration, listens, tracks connections, feeds observers, drains and reloads.

``workers`` runs it in several processes.
"""
