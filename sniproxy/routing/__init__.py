"""Chooses a route for a server name, and the order in which the route's targets are dialled. Pure."""
