"""How fast it is: ``make bench``. Nothing imports this, and no test asserts a speed.

``measure`` reads CPU time and says what repeated runs came to, ``table`` writes the tables of the documents.
``traffic`` makes the bytes, ``load`` sends and takes them, ``proxy`` is the proxy that is measured, in a process of its
own. ``exchange`` is what ``load`` is, where the broker speaks TLS. Each bench is a file: ``inspector``, ``bridge``.
"""
