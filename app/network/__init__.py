"""The one way to the network: proxy, authorities, identity and addresses, for all that goes out."""
