"""Where positions and ids are kept: the document, the protocol, and two stores."""
