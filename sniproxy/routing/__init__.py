"""From a server name to a route, and from a route's targets to the order in which they are dialled. Pure."""
