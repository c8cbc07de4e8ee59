"""The proxy in a simulated world, which a seed decides: docs/explanation/simulation.md.

C{kernel}, C{sockets} and C{reactor} replace the system, C{faults} says which calls fail, C{patches} puts them into the
proxy's modules. C{plan} draws what happens from a seed, C{settings} is the configuration, C{peers} are the clients and
targets, C{resolving} the resolver and the name servers, C{acting} and C{moving} what operators do. C{world} runs all of
it with the proxy's own code. C{model} is the relay's contract, C{checks} has all other invariants. C{running} runs and
shortens plans, C{story} tells them. C{mutations} and C{mutate} show that faults of the code are found. C{__main__} is
the program.
"""
