"""The commands ``record`` and ``replay``, which write and play conversations (`sniproxy.conversation`).

============  ======================================================================================================
``options``   the command-line options
``record``    the command ``record``
``captured``  records the connections in a capture
``live``      a plaintext relay that records
``running``   records connections of a running proxy
``output``    the files of the recorded connections
``replay``    the command ``replay``
``played``    listens as the brokers of a recording
``playing``   one connection that a player plays
============  ======================================================================================================
"""
