"""The commands of ``sniproxyctl``."""
