"""Tables of a configuration file, each kind with its checks. Pure."""
