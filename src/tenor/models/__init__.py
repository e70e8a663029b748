"""One file a kind of model: network, loss, decoding, main metric, each read top to bottom."""
