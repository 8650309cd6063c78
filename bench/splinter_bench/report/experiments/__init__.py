"""Tables, pictures and figures of the experiments, each made from its document."""
