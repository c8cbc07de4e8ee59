"""Writers of other proxies' configurations: each has C{write(file) -> Exported}."""
