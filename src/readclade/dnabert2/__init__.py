"""The network of DNABERT-2 and DNABERT-S, from a file of weights to a module: `load`."""

from readclade.dnabert2.network import Network, NetworkConfig, load, read_config

__all__ = ["Network", "NetworkConfig", "load", "read_config"]
