"""``make chaos``: the real program between two network namespaces, over a line that does what bad networks do.

``line`` decides what happens to each packet, ``wire`` carries packets between the namespaces. ``plan`` draws tunnels
from a seed, ``streams`` and ``ends`` move their bytes and compare each of them, ``load`` runs clients and targets.
``proxies`` starts ours and HAProxy, ``trouble`` kills and stops workers. ``records`` compares the access logs with what
the clients saw, ``table`` shows the result. ``inside`` runs all of it in the namespaces, ``__main__`` starts that and
ends every process. ``hellos`` measures how long a cut line delays a hello; ``document`` writes the manual's tables.
"""
