"""The C{kubernetes} resolver: pods of a Service, or TLSRoutes of a Gateway, watched by the Kubernetes API.

- ``resolver``: the resolver; ``options``: its options;
- ``watch``: lists and watches one kind of objects; ``api``: the API client; ``store``: the objects of a watch;
- ``objects``: the fields of the API's objects that the resolver reads;
- ``endpoints``: endpoints of EndpointSlices; ``pods``: names of the pods of a Service;
- ``hostnames``, ``listeners``, ``backends``, ``tlsroutes``: TLSRoutes as routes; ``conditions``, ``statuswriter``:
  their status.
"""
