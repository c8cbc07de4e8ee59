"""One Pulsar connection as a text file: recorded, read, compared and played again. Pure.

==============  ====================================================================================================
``fieldnames``  the names of PulsarApi.proto that ``sniproxy/pulsar/commands.proto`` leaves out
``schema``      the fields of each message: name, kind, and whether they may be secret
``wire``        protobuf bytes to a tree of named fields, and back
``striking``    strikes credentials, payloads and private fields out of a tree
``entry``       one frame as a JSON object, and back
``textform``    the file: a header, and one frame a line
``recorder``    turns the bytes of a connection into the lines of a file
``mapping``     ids and names of the recording, and those of the peer that stand for the same thing
``comparison``  compares a frame with the recorded one
``brokers``     which recorded brokers the URLs in answers lead to
``player``      plays one side of a conversation
==============  ====================================================================================================
"""
