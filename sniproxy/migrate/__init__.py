"""Reads and writes the configurations of other proxies.

Each format has a reader: C{read(files) -> Imported}. L{sniproxy.migrate.ordering} turns its rules, of which the first
match decides, into routes with our precedence, and L{sniproxy.migrate.document} writes them as TOML. The writers are in
C{export}: C{write(file) -> Exported}.
"""
